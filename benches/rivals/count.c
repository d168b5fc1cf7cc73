/*
 * Counts what ranks receive from other ranks between count_start and count_stop, by standing before MPI's
 * functions under their names (MPI's profiling interface: each is PMPI_ too). Owns what a call counts as;
 * never changes what is sent, and never looks at ScaLAPACK: the benchmark `bytes` checks that its libraries call no
 * function that moves data and is not here.
 *
 * Payload alone: the entries of a datatype (MPI_Type_size) times their count, neither gaps between them nor
 * what MPI adds on its way. Messages to the sender itself and to MPI_PROC_NULL reach no other rank and are
 * left out. Receives are not counted: what is sent is counted where it is sent, once.
 *
 * In a collective call of p ranks on data of b bytes counts what must reach ranks that do not have it, in
 * the way that moves least in sum, whatever MPI does inside:
 *
 *   MPI_Bcast      (p - 1) b     each rank but the root lacks it
 *   MPI_Reduce     (p - 1) b     each rank's data but the root's must leave it, and sums are no larger
 *   MPI_Allreduce  2 (p - 1) b   a reduction, and a broadcast of its result; a reduce-scatter followed by
 *                                an allgather moves as much, an exchange with doubled distances more
 *
 * Each such share of b bytes is one message. A barrier and the making of communicators move no payload.
 */
#include "count.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static Counts counts;
static bool counting;

void count_start(void)
{
    counts = (Counts){0};
    counting = true;
}

Counts count_stop(void)
{
    counting = false;
    uint64_t own[] = {counts.point.bytes, counts.point.messages, counts.collective.bytes,
                      counts.collective.messages};
    uint64_t all[] = {0, 0, 0, 0};
    PMPI_Reduce(own, all, 4, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    return (Counts){.point = {all[0], all[1]}, .collective = {all[2], all[3]}};
}

/* Ends every rank: a count that may be wrong is none. */
__attribute__((noreturn)) static void refuse(const char *what)
{
    fprintf(stderr, "count: %s\n", what);
    PMPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    abort();
}

static void add(Traffic *traffic, int count, MPI_Datatype type, int messages)
{
    MPI_Count size = 0;
    PMPI_Type_size_x(type, &size);
    if (count < 0 || size < 0) {
        refuse("expected a datatype of known size and a count of at least 0");
    }
    traffic->bytes += (uint64_t)count * (uint64_t)size * (uint64_t)messages;
    traffic->messages += (uint64_t)messages;
}

/* Ranks of a communicator that has one group, and the own rank. */
static int ranks_of(MPI_Comm comm, int *rank)
{
    int between = 0, ranks = 0;
    PMPI_Comm_test_inter(comm, &between);
    if (between) {
        refuse("expected communicators of one group, got one between two groups");
    }
    PMPI_Comm_rank(comm, rank);
    PMPI_Comm_size(comm, &ranks);
    return ranks;
}

static void sent(int count, MPI_Datatype type, int to, MPI_Comm comm)
{
    if (!counting || to == MPI_PROC_NULL) {
        return;
    }
    int rank = 0;
    ranks_of(comm, &rank);
    if (to != rank) {
        add(&counts.point, count, type, 1);
    }
}

/* ---- to one rank */

int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    sent(count, type, to, comm);
    return PMPI_Send(data, count, type, to, tag, comm);
}

int MPI_Rsend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    sent(count, type, to, comm);
    return PMPI_Rsend(data, count, type, to, tag, comm);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    sent(count, type, to, comm);
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Sendrecv(const void *data, int count, MPI_Datatype type, int to, int tag, void *received,
                 int received_count, MPI_Datatype received_type, int from, int received_tag, MPI_Comm comm,
                 MPI_Status *status)
{
    sent(count, type, to, comm);
    return PMPI_Sendrecv(data, count, type, to, tag, received, received_count, received_type, from,
                         received_tag, comm, status);
}

/* ---- among all ranks of a communicator */

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    if (counting) {
        int rank = 0, ranks = ranks_of(comm, &rank);
        if (rank == root) {
            add(&counts.collective, count, type, ranks - 1);
        }
    }
    return PMPI_Bcast(data, count, type, root, comm);
}

int MPI_Reduce(const void *data, void *result, int count, MPI_Datatype type, MPI_Op op, int root,
               MPI_Comm comm)
{
    if (counting) {
        int rank = 0, ranks = ranks_of(comm, &rank);
        if (rank == root) {
            add(&counts.collective, count, type, ranks - 1);
        }
    }
    return PMPI_Reduce(data, result, count, type, op, root, comm);
}

int MPI_Allreduce(const void *data, void *result, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    if (counting) {
        int rank = 0, ranks = ranks_of(comm, &rank);
        if (rank == 0) {
            add(&counts.collective, count, type, 2 * (ranks - 1));
        }
    }
    return PMPI_Allreduce(data, result, count, type, op, comm);
}
