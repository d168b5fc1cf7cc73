/*
 * Holds the counter of count.c against traffic that is known by arithmetic: calls of MPI, and calls of BLACS,
 * whose calls of MPI must reach the counter too. Never looks at the counter's inside.
 *
 *   mpirun -n RANKS count_check          RANKS even, at least 4: BLACS's grid is 2 x RANKS/2
 *
 * Prints how many cases were counted exactly. Exit status: 0 when all were, 2 for wrong RANKS, 1 for all
 * else.
 */
#include "count.h"

#include <inttypes.h>
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef COUNT
#error "expected -DCOUNT, and count.c beside this file"
#endif

/* BLACS ships no headers. */
extern void Cblacs_get(int context, int what, int *value);
extern void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
extern void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
extern void Cblacs_gridexit(int context);
extern void Cblacs_exit(int keep_mpi);
extern void Cdgesd2d(int context, int m, int n, double *a, int lead, int to_row, int to_column);
extern void Cdgerv2d(int context, int m, int n, double *a, int lead, int from_row, int from_column);
extern void Cdtrsd2d(int context, const char *uplo, const char *diag, int m, int n, double *a, int lead,
                     int to_row, int to_column);
extern void Cdtrrv2d(int context, const char *uplo, const char *diag, int m, int n, double *a, int lead,
                     int from_row, int from_column);
extern void Cdgebs2d(int context, const char *scope, const char *top, int m, int n, double *a, int lead);
extern void Cdgebr2d(int context, const char *scope, const char *top, int m, int n, double *a, int lead,
                     int from_row, int from_column);
extern void Cdgsum2d(int context, const char *scope, const char *top, int m, int n, double *a, int lead,
                     int to_row, int to_column);

enum {
    GRID_ROWS = 2,
    RANKS_MIN = 4,
    /* Entries of a message, and of a piece of a matrix of LEAD rows, which has gaps. */
    LENGTH = 1000,
    M = 7,
    N = 5,
    LEAD = 11,
    PIECE_BYTES = M * N * 8,
    /* Of the piece, on and above the diagonal that ends in its last row, as BLACS has it. */
    TRAPEZOID_BYTES = (N * (M - N) + N * (N + 1) / 2) * 8,
};

typedef struct {
    int rank, ranks, next, previous;
    int context, row, column, columns;
    int passed;
} Scene;

static double data[LENGTH], other[LENGTH];

static uint64_t bytes_of(int messages, int bytes)
{
    return (uint64_t)messages * (uint64_t)bytes;
}

/* Stops the counter and ends every rank unless it counted what is expected. */
static void expect(Scene *scene, const char *what, Traffic point, Traffic collective)
{
    Counts got = count_stop();
    const Traffic *pairs[][2] = {{&point, &got.point}, {&collective, &got.collective}};
    for (int at = 0; scene->rank == 0 && at < 2; at++) {
        const Traffic *wanted = pairs[at][0], *counted = pairs[at][1];
        if (wanted->bytes != counted->bytes || wanted->messages != counted->messages) {
            fprintf(stderr,
                    "count_check: %s: expected %" PRIu64 " bytes in %" PRIu64 " messages %s, counted %" PRIu64
                    " in %" PRIu64 "\n",
                    what, wanted->bytes, wanted->messages, at == 0 ? "to one rank" : "among all",
                    counted->bytes, counted->messages);
            MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
        }
    }
    scene->passed++;
}

static void expect_point(Scene *scene, const char *what, int messages, int bytes)
{
    expect(scene, what, (Traffic){bytes_of(messages, bytes), (uint64_t)messages}, (Traffic){0, 0});
}

static void expect_collective(Scene *scene, const char *what, int messages, int bytes)
{
    expect(scene, what, (Traffic){0, 0}, (Traffic){bytes_of(messages, bytes), (uint64_t)messages});
}

/* ---- MPI, to one rank */

/* Every rank to the next, by each way to send. */
static void check_rings(Scene *scene)
{
    MPI_Comm all = MPI_COMM_WORLD;
    const int ranks = scene->ranks, next = scene->next, previous = scene->previous;
    MPI_Request request;

    count_start();
    MPI_Irecv(other, LENGTH, MPI_DOUBLE, previous, 1, all, &request);
    MPI_Send(data, LENGTH, MPI_DOUBLE, next, 1, all);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of MPI_Send", ranks, LENGTH * 8);

    /* A ready send needs its receive to be there. */
    count_start();
    MPI_Irecv(other, LENGTH, MPI_FLOAT, previous, 2, all, &request);
    MPI_Barrier(all);
    MPI_Rsend(data, LENGTH, MPI_FLOAT, next, 2, all);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of MPI_Rsend", ranks, LENGTH * 4);

    /* What is sent is less than what there is room for. */
    count_start();
    MPI_Isend(data, 3, MPI_DOUBLE, next, 3, all, &request);
    MPI_Recv(other, LENGTH, MPI_DOUBLE, previous, 3, all, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of MPI_Isend", ranks, 3 * 8);

    count_start();
    MPI_Sendrecv(data, LENGTH, MPI_BYTE, next, 4, other, LENGTH, MPI_BYTE, previous, 4, all,
                 MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of MPI_Sendrecv", ranks, LENGTH);
}

/* Messages that reach no other rank, and messages outside of the counted time. */
static void check_nothing(Scene *scene)
{
    MPI_Comm all = MPI_COMM_WORLD;
    MPI_Sendrecv(data, 1, MPI_DOUBLE, scene->next, 5, other, 1, MPI_DOUBLE, scene->previous, 5, all,
                 MPI_STATUS_IGNORE);
    count_start();
    MPI_Sendrecv(data, 1, MPI_DOUBLE, scene->rank, 6, other, 1, MPI_DOUBLE, scene->rank, 6, all,
                 MPI_STATUS_IGNORE);
    MPI_Send(data, 1, MPI_DOUBLE, MPI_PROC_NULL, 7, all);
    MPI_Bcast(data, 1, MPI_DOUBLE, 0, MPI_COMM_SELF);
    MPI_Reduce(data, other, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_SELF);
    MPI_Allreduce(data, other, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_SELF);
    MPI_Barrier(all);
    expect_point(scene, "what reaches no other rank", 0, 0);
    count_start();
    expect_point(scene, "nothing", 0, 0);
}

/* Datatypes with gaps, and packed data: only entries count. */
static void check_types(Scene *scene)
{
    MPI_Comm all = MPI_COMM_WORLD;
    const int ranks = scene->ranks, next = scene->next, previous = scene->previous;
    MPI_Datatype piece, pair;
    MPI_Type_vector(N, M, LEAD, MPI_DOUBLE, &piece);
    MPI_Type_commit(&piece);
    count_start();
    MPI_Sendrecv(data, 2, piece, next, 8, other, 2, piece, previous, 8, all, MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of pieces of a matrix", ranks, 2 * PIECE_BYTES);

    const int lengths[] = {1, 1};
    const MPI_Aint places[] = {0, 8};
    MPI_Datatype parts[] = {MPI_DOUBLE, MPI_UNSIGNED_SHORT};
    MPI_Type_create_struct(2, lengths, places, parts, &pair);
    MPI_Type_commit(&pair);
    count_start();
    MPI_Sendrecv(data, 3, pair, next, 9, other, 3, pair, previous, 9, all, MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of structures", ranks, 3 * 10);

    char packed[2 * PIECE_BYTES], room[sizeof packed];
    int length = 0;
    MPI_Pack(data, 1, piece, packed, (int)sizeof packed, &length, all);
    count_start();
    MPI_Sendrecv(packed, length, MPI_PACKED, next, 10, room, (int)sizeof room, MPI_PACKED, previous, 10, all,
                 MPI_STATUS_IGNORE);
    expect_point(scene, "a ring of packed pieces", ranks, PIECE_BYTES);
    MPI_Type_free(&piece);
    MPI_Type_free(&pair);
}

/* ---- MPI, among all of a communicator */

static void check_collectives(Scene *scene, const char *whose, MPI_Comm comm, int comms, int ranks)
{
    const int root = ranks - 1;
    char what[64];
    count_start();
    MPI_Bcast(data, LENGTH, MPI_DOUBLE, root, comm);
    snprintf(what, sizeof what, "MPI_Bcast among %s", whose);
    expect_collective(scene, what, comms * (ranks - 1), LENGTH * 8);

    count_start();
    MPI_Reduce(data, other, LENGTH, MPI_DOUBLE, MPI_SUM, root, comm);
    snprintf(what, sizeof what, "MPI_Reduce among %s", whose);
    expect_collective(scene, what, comms * (ranks - 1), LENGTH * 8);

    count_start();
    MPI_Allreduce(MPI_IN_PLACE, other, LENGTH, MPI_FLOAT, MPI_SUM, comm);
    snprintf(what, sizeof what, "MPI_Allreduce among %s", whose);
    expect_collective(scene, what, comms * 2 * (ranks - 1), LENGTH * 4);
}

/* ---- BLACS */

/* Every process of a row to the next: pieces of a matrix with gaps, whole and trapezoids. */
static void check_blacs_rings(Scene *scene)
{
    const int context = scene->context, row = scene->row, columns = scene->columns;
    const int next = (scene->column + 1) % columns, previous = (scene->column + columns - 1) % columns;
    count_start();
    Cdgesd2d(context, M, N, data, LEAD, row, next);
    Cdgerv2d(context, M, N, other, LEAD, row, previous);
    expect_point(scene, "rings of BLACS's dgesd2d", scene->ranks, PIECE_BYTES);

    count_start();
    Cdtrsd2d(context, "U", "N", M, N, data, LEAD, row, next);
    Cdtrrv2d(context, "U", "N", M, N, other, LEAD, row, previous);
    expect_point(scene, "rings of BLACS's dtrsd2d", scene->ranks, TRAPEZOID_BYTES);
}

/* Traffic of BLACS that may be to one rank or among all: its sums are known. */
static void expect_either(Scene *scene, const char *what, int messages)
{
    Counts got = count_stop();
    Traffic sum = {got.point.bytes + got.collective.bytes, got.point.messages + got.collective.messages};
    uint64_t wanted = bytes_of(messages, PIECE_BYTES);
    if (scene->rank == 0 && (sum.bytes != wanted || sum.messages != (uint64_t)messages)) {
        fprintf(stderr,
                "count_check: %s: expected %" PRIu64 " bytes in %d messages, counted %" PRIu64 " in %" PRIu64
                "\n",
                what, wanted, messages, sum.bytes, sum.messages);
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
    scene->passed++;
}

/* Broadcasts from, and sums to, the last process of a scope, which BLACS does itself in some topologies
 * and asks MPI for in others; each tells all p but one, or hears of all but one. */
static void check_blacs_scopes(Scene *scene)
{
    const int context = scene->context, last_row = GRID_ROWS - 1, last_column = scene->columns - 1;
    const char *const tops[] = {" ", "I", "D", "S", "H", "1", "2"};
    for (size_t at = 0; at < sizeof tops / sizeof *tops; at++) {
        char what[64];
        snprintf(what, sizeof what, "BLACS's dgebs2d to all, topology '%s'", tops[at]);
        count_start();
        if (scene->row == last_row && scene->column == last_column) {
            Cdgebs2d(context, "All", tops[at], M, N, data, LEAD);
        } else {
            Cdgebr2d(context, "All", tops[at], M, N, data, LEAD, last_row, last_column);
        }
        expect_either(scene, what, scene->ranks - 1);

        snprintf(what, sizeof what, "BLACS's dgsum2d in rows, topology '%s'", tops[at]);
        count_start();
        Cdgsum2d(context, "Row", tops[at], M, N, data, LEAD, scene->row, last_column);
        expect_either(scene, what, GRID_ROWS * last_column);
    }
}

/* ---- all */

static void check_all(Scene *scene)
{
    check_nothing(scene);
    check_rings(scene);
    check_types(scene);
    check_collectives(scene, "all", MPI_COMM_WORLD, 1, scene->ranks);
    /* Ranks of odd number, then of even: a rank's place in a half is not its place among all. */
    MPI_Comm half;
    MPI_Comm_split(MPI_COMM_WORLD, scene->rank % 2, -scene->rank, &half);
    check_collectives(scene, "halves", half, 2, scene->ranks / 2);
    MPI_Comm_free(&half);
    check_blacs_rings(scene);
    check_blacs_scopes(scene);
}

int main(int count, char **texts)
{
    Scene scene = {0};
    MPI_Init(&count, &texts);
    MPI_Comm_rank(MPI_COMM_WORLD, &scene.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &scene.ranks);
    if (scene.ranks < RANKS_MIN || scene.ranks % GRID_ROWS != 0) {
        if (scene.rank == 0) {
            fprintf(stderr, "count_check: expected ranks of even number, at least %d, got %d: mpirun -n\n",
                    RANKS_MIN, scene.ranks);
        }
        MPI_Finalize();
        return 2;
    }
    scene.next = (scene.rank + 1) % scene.ranks;
    scene.previous = (scene.rank + scene.ranks - 1) % scene.ranks;
    int rows = 0;
    Cblacs_get(-1, 0, &scene.context);
    Cblacs_gridinit(&scene.context, "Row", GRID_ROWS, scene.ranks / GRID_ROWS);
    Cblacs_gridinfo(scene.context, &rows, &scene.columns, &scene.row, &scene.column);
    check_all(&scene);
    if (scene.rank == 0) {
        printf("%d ranks: %d kinds of traffic counted exactly\n", scene.ranks, scene.passed);
        fflush(stdout);
    }
    Cblacs_gridexit(scene.context);
    Cblacs_exit(1);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
