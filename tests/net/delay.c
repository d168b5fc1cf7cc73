/* Holds every packet of a netfilter queue for a time, then lets it pass: a line's delay, for kernels that
 * have no netem. Runs in the network namespace whose queue it serves, until it is killed.
 *
 *   delay QUEUE MICROSECONDS
 *
 * All packets wait equally long, so that they leave in the order in which they came, and one verdict lets
 * pass all that are due. Packets themselves stay in the kernel: only their numbers come here. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Packets that may wait: 5 ms at 10 Gbit/s are 4,200 full ones. A power of two. */
#define HELD_MAX 65536
/* What the kernel may have queued for this program to read: numbers of some 100 bytes each. */
#define SOCKET_BYTES (32 << 20)

static int queue_socket;
static uint16_t queue_number;

static struct {
    uint32_t id;
    int64_t due_ns;
} held[HELD_MAX];
static uint32_t first, next; /* held[first .. next), counted without end */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* A message to the queue that is being built. */
struct message {
    struct nlmsghdr header;
    struct nfgenmsg about;
    char attributes[128];
};

static void begin(struct message *message, int type, int flags)
{
    memset(message, 0, sizeof *message);
    message->header.nlmsg_len = NLMSG_LENGTH(sizeof message->about);
    message->header.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
    message->header.nlmsg_flags = NLM_F_REQUEST | flags;
    message->about.nfgen_family = AF_UNSPEC;
    message->about.version = NFNETLINK_V0;
    message->about.res_id = htons(queue_number);
}

static void add(struct message *message, int type, const void *data, size_t bytes)
{
    struct nlattr *attribute =
        (struct nlattr *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + bytes;
    memcpy((char *)attribute + NLA_HDRLEN, data, bytes);
    message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static void post(const struct message *message)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent = sendto(queue_socket, message, message->header.nlmsg_len, 0,
                          (struct sockaddr *)&kernel, sizeof kernel);
    if (sent < 0)
        die("delay: sending to the kernel");
}

/* Sends a setting and reads the kernel's answer, which comes before any packet's number. */
static void set(struct message *message, const char *what)
{
    char answer[4096];
    post(message);
    ssize_t bytes = recv(queue_socket, answer, sizeof answer, 0);
    struct nlmsghdr *header = (struct nlmsghdr *)answer;
    if (bytes < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || header->nlmsg_type != NLMSG_ERROR)
        return; /* a packet already: the queue works */
    errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
    if (errno != 0)
        die(what);
}

static void open_queue(void)
{
    struct message message;
    int bytes = SOCKET_BYTES, yes = 1;
    queue_socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (queue_socket < 0)
        die("delay: a netfilter socket");
    if (setsockopt(queue_socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        die("delay: room for packets' numbers");
    setsockopt(queue_socket, SOL_NETLINK, NETLINK_NO_ENOBUFS, &yes, sizeof yes);

    struct nfqnl_msg_config_params numbers_alone = {.copy_mode = NFQNL_COPY_META};
    uint32_t most = htonl(HELD_MAX);
    /* Large segments stay whole, and packets beyond the most pass at once. */
    uint32_t flags = htonl(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN);
    begin(&message, NFQNL_MSG_CONFIG, NLM_F_ACK);
    add(&message, NFQA_CFG_PARAMS, &numbers_alone, sizeof numbers_alone);
    add(&message, NFQA_CFG_QUEUE_MAXLEN, &most, sizeof most);
    add(&message, NFQA_CFG_MASK, &flags, sizeof flags);
    add(&message, NFQA_CFG_FLAGS, &flags, sizeof flags);
    struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
    add(&message, NFQA_CFG_CMD, &bind, sizeof bind);
    set(&message, "delay: the queue");
}

/* Remembers the packets that a message from the kernel tells of. */
static void hear(const char *text, int bytes, int64_t due_ns)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)text;
    for (; NLMSG_OK(header, bytes); header = NLMSG_NEXT(header, bytes)) {
        if (header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
            continue;
        const char *at = (const char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
        const char *end = (const char *)header + header->nlmsg_len;
        while (at + NLA_HDRLEN <= end) {
            const struct nlattr *attribute = (const struct nlattr *)at;
            if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
                const struct nfqnl_msg_packet_hdr *packet = (const void *)(at + NLA_HDRLEN);
                held[next % HELD_MAX].id = ntohl(packet->packet_id);
                held[next % HELD_MAX].due_ns = due_ns;
                next++;
                break;
            }
            if (attribute->nla_len < NLA_HDRLEN)
                break;
            at += NLA_ALIGN(attribute->nla_len);
        }
    }
}

/* Lets pass what is due; returns how long the next packet still waits, or -1 where none does. */
static int64_t release(void)
{
    int64_t now = now_ns();
    uint32_t before = first;
    while (first != next && held[first % HELD_MAX].due_ns <= now)
        first++;
    if (first != before) {
        struct message message;
        struct nfqnl_msg_verdict_hdr verdict = {
            .verdict = htonl(NF_ACCEPT),
            .id = htonl(held[(first - 1) % HELD_MAX].id),
        };
        begin(&message, NFQNL_MSG_VERDICT_BATCH, 0);
        add(&message, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
        post(&message);
    }
    return first == next ? -1 : held[first % HELD_MAX].due_ns - now;
}

int main(int argc, char **argv)
{
    static char text[1 << 16];
    if (argc != 3) {
        fprintf(stderr, "usage: delay QUEUE MICROSECONDS\n");
        return 2;
    }
    queue_number = atoi(argv[1]);
    int64_t delay_ns = atoll(argv[2]) * 1000;
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
    open_queue();
    for (;;) {
        int64_t wait_ns = release();
        struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
        struct pollfd looked_at = {.fd = queue_socket, .events = POLLIN};
        ppoll(&looked_at, 1, wait_ns < 0 ? NULL : &wait, NULL);
        ssize_t bytes;
        while ((bytes = recv(queue_socket, text, sizeof text, MSG_DONTWAIT)) > 0) {
            hear(text, bytes, now_ns() + delay_ns);
            if (held[first % HELD_MAX].due_ns <= now_ns())
                break;
        }
    }
}
