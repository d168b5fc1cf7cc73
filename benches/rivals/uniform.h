/*
 * Entries of the matrices that rivals compute on: each depends on its place alone, so that every rank of any
 * grid fills its own part.
 */
#ifndef UNIFORM_H
#define UNIFORM_H

#include <stdint.h>

/* Entry (i, j) of matrix `seed`, uniform in [-1, 1): SplitMix64's mixing of its place. */
static inline double uniform(uint64_t seed, int i, int j)
{
    uint64_t bits = (seed << 48) ^ ((uint64_t)i << 24) ^ (uint64_t)j;
    bits = (bits + 1) * UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    bits ^= bits >> 31;
    return (double)(bits >> 11) * 0x1p-52 - 1.0;
}

#endif
