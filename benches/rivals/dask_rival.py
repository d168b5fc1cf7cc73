"""Times one computation of dask.array on a thread pool and prints a line of JSON.

    dask_rival.py geqrf M N ROWS THREADS     R of a tall matrix in chunks of ROWS x N, by tsqr
    dask_rival.py gemm N CHUNK THREADS       a product of square matrices in chunks of CHUNK x CHUNK

Matrices are in memory before, and results stay there in chunks. A small computation comes first, so that threads and
BLAS's buffers are there. Exit status: 0 when the result is sound, 2 for bad arguments, 1 for all else.
"""

import json
import sys
import time

import dask
import dask.array as da
import numpy as np

USAGE = "expected geqrf M N ROWS THREADS, or gemm N CHUNK THREADS"
# Relative error of a probe that is sound: n rounding errors.
PROBE_MAX = 1e-9
# Chunks of the computation that comes first.
WARM_CHUNKS = 4


def matrix(seed, rows, columns, chunks):
    entries = np.random.default_rng(seed).uniform(-1.0, 1.0, (rows, columns))
    return entries, da.from_array(entries, chunks=chunks, name=False).persist()


def expect_same(expected, got):
    error = np.max(np.abs(expected - got)) / np.max(np.abs(expected))
    if not error <= PROBE_MAX:
        sys.exit(f"dask_rival: expected the result's probe within {PROBE_MAX} of the matrix's, got {error}")


def geqrf(m, n, rows):
    entries, a = matrix(1, m, n, (rows, n))
    r = da.linalg.tsqr(a)[1]
    start = time.perf_counter()
    (r,) = dask.persist(r)
    seconds = time.perf_counter() - start
    r = np.triu(r.compute())
    ones = np.ones(n)
    expect_same(entries.T @ (entries @ ones), r.T @ (r @ ones))
    return seconds


def gemm(n, chunk):
    left, a = matrix(1, n, n, (chunk, chunk))
    right, b = matrix(2, n, n, (chunk, chunk))
    product = a @ b
    start = time.perf_counter()
    (product,) = dask.persist(product)
    seconds = time.perf_counter() - start
    ones = np.ones(n)
    expect_same(right.T @ (left.T @ ones), product.compute().T @ ones)
    return seconds


def main(arguments):
    try:
        routine, numbers = arguments[0], [int(text) for text in arguments[1:]]
    except (IndexError, ValueError):
        numbers, routine = [], None
    if (routine, len(numbers)) not in (("geqrf", 4), ("gemm", 3)) or min(numbers) < 1:
        print(f"dask_rival: {USAGE}", file=sys.stderr)
        return 2
    *sizes, threads = numbers
    dask.config.set(scheduler="threads", num_workers=threads)
    if routine == "geqrf":
        m, n, rows = sizes
        geqrf(min(m, WARM_CHUNKS * rows), n, rows)
        seconds = geqrf(m, n, rows)
    else:
        n, chunk = sizes
        gemm(min(n, WARM_CHUNKS * chunk), chunk)
        seconds = gemm(n, chunk)
    print(json.dumps({"routine": routine, "seconds": seconds, "core": f"numpy {np.__version__}"}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
