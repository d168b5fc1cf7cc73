/*
 * The counter of count.c, as scalapack.c uses it. Without -DCOUNT nothing is counted and nothing lies between
 * ScaLAPACK and MPI, so that times are its own.
 */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

/* What ranks received from other ranks: payload in bytes, and in how many messages. */
typedef struct {
    uint64_t bytes, messages;
} Traffic;

/* By the calls that moved it: to one rank, or among all of a communicator. */
typedef struct {
    Traffic point, collective;
} Counts;

#ifdef COUNT

enum { COUNTED = 1 };

/* Starts at nothing; every rank calls it. */
void count_start(void);

/* Stops; returns the sums over all ranks of MPI_COMM_WORLD on its rank 0, and zeros elsewhere. */
Counts count_stop(void);

#else

enum { COUNTED = 0 };

static inline void count_start(void) {}

static inline Counts count_stop(void)
{
    return (Counts){0};
}

#endif

#endif
