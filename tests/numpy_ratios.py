"""Holds every operation of peerwren against LAPACK, through numpy and scipy, on matrices of many kinds.

    numpy_ratios.py COMMAND [--only OPERATION] [--seed N]

COMMAND is peerwren, or a program that takes its arguments. Each matrix is a run of it. Prints a Markdown table of the
worst ratios. Exit status: 0 when all are below 30 and every result has its shape, type and structure; 1 with a line for
each matrix where that is not so, which `--only` and `--seed` replay; 2 for bad usage.

The ratios are those of LAPACK's own tests (Working Note 41): 1-norms, eps = 2^-53, 0 / 0 = 0, matrices scaled by a
power of two first so that no norm overflows. Where a definition supposes matrices far from singular, or small growth,
the code says what is measured instead.

Needs numpy and scipy.
"""

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy
import scipy.linalg

EPS = 2.0**-53
BOUND = 30
# Most matrices below are no multiple of it.
BLOCK = 24
RUNS_AT_A_TIME = 4
RUN_SECONDS_MAX = 120


class Unsound(Exception):
    """A run that failed, or a result that is not what it must be."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", metavar="COMMAND", help="peerwren, or a program that takes its arguments")
    parser.add_argument("--only", metavar="OPERATION", choices=OPERATIONS, help=", ".join(OPERATIONS))
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="seed of the random matrices [default: 1]")
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    try:
        run(arguments.command, "qr", [numpy.eye(2)], {"q": (2, 2), "r": (2, 2)})
    except (OSError, Unsound) as error:
        print(f"{parser.prog}: {arguments.command} does not run as peerwren does: {error}", file=sys.stderr)
        sys.exit(2)
    rows, failures = [], 0
    for name in [arguments.only] if arguments.only else OPERATIONS:
        found, failed = hold(arguments.command, name, arguments.seed)
        rows += found
        failures += failed
    print("| operation | matrices | ratio | worst | of |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.exit(1 if failures else 0)


def hold(command, name, seed):
    """The rows of an operation's table, and how many of its matrices failed."""
    make, check = OPERATIONS[name]
    problems = list(make(numpy.random.default_rng([seed, list(OPERATIONS).index(name)])))
    counts, worst, failures = {}, {}, 0
    # A run of a small matrix mostly waits.
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        outcomes = pool.map(lambda problem: outcome(check, command, problem[1]), problems)
        for (what, _), (ratios, wrong) in zip(problems, outcomes):
            for definition, value in ratios.items():
                counts[definition] = counts.get(definition, 0) + 1
                worst[definition] = max(worst.get(definition, (-1.0, "")), (value, what))
                if value >= BOUND:
                    wrong.append(f"{definition} is {value:.3g}")
            if wrong:
                print(f"FAILED {name} of {what}, seed {seed}: {'; '.join(wrong)}", file=sys.stderr)
                failures += 1
    rows = [
        [f"`{name}`", str(counts[definition]), definition.replace("|", "\\|"), f"{value:.2g}", what]
        for definition, (value, what) in worst.items()
    ]
    return rows, failures


def outcome(check, command, problem):
    """The ratios of a problem, and what is wrong beside them."""
    try:
        return check(command, *problem), []
    except Unsound as error:
        return {}, [str(error)]


def run(command, operation, inputs, wanted, options=(), block=BLOCK):
    """The results of one run, in the order of `wanted`, which has their names and shapes."""
    with tempfile.TemporaryDirectory() as folder:
        place = lambda name: os.path.join(folder, f"{name}.npy")
        arguments = [command, operation]
        for number, matrix in enumerate(inputs):
            arguments.append(place(f"input{number}"))
            numpy.save(arguments[-1], matrix)
        for name in wanted:
            arguments += [f"--{name}", place(name)]
        arguments += [str(option) for option in options]
        arguments += ["--block", str(block), "--workers", "3", "--engine", "threads", "--store", "memory", "--quiet"]
        try:
            ran = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise Unsound(f"{operation} was not done after {RUN_SECONDS_MAX} s")
        if ran.returncode != 0:
            said = " ".join(ran.stderr.split())[:300]
            raise Unsound(f"{operation} ended with status {ran.returncode}: {said}")
        return [read(name, place(name), shape) for name, shape in wanted.items()]


def read(name, path, shape):
    demand(os.path.exists(path), f"{name} was not written")
    try:
        result = numpy.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise Unsound(f"{name} cannot be read: {error}")
    dtype = numpy.dtype("int64" if name == "p" else "float64")
    demand(result.shape == shape, f"{name} is of shape {result.shape}, not {shape}")
    demand(result.dtype == dtype, f"{name} is of {result.dtype}, not {dtype}")
    demand(numpy.isfinite(result).all(), f"{name} has entries that are not finite")
    return result


def demand(condition, otherwise):
    if not condition:
        raise Unsound(otherwise)


# Matrices.


def orthonormal(random, m, n):
    return numpy.linalg.qr(random.standard_normal((m, n)))[0]


def conditioned(decades):
    """Singular values from 1 down to 10^-decades, random singular vectors."""

    def make(random, m, n):
        k = min(m, n)
        return (orthonormal(random, m, k) * numpy.logspace(0, -decades, k)) @ orthonormal(random, n, k).T

    return make


def normal(random, m, n):
    return random.standard_normal((m, n))


def graded_rows(random, m, n):
    return normal(random, m, n) * numpy.logspace(0, -12, m)[:, None]


def graded_columns(random, m, n):
    return normal(random, m, n) * numpy.logspace(0, -12, n)


def zero_row_and_column(random, m, n):
    a = normal(random, m, n)
    a[m // 3, :] = a[:, n // 2] = 0
    return a


def hilbert(m, n):
    return 1 / (numpy.arange(m)[:, None] + numpy.arange(n) + 1)


def lotkin(n):
    """Hilbert's matrix with a first row of ones."""
    a = hilbert(n, n)
    a[0] = 1
    return a


def kahan(n, angle=1.2):
    """Upper triangular; its diagonal does not tell how close to singular it is."""
    a = numpy.triu(numpy.full((n, n), -math.cos(angle)), 1) + numpy.eye(n)
    return a * (math.sin(angle) ** numpy.arange(n))[:, None]


def wilkinson(n):
    """The matrix whose last column doubles with each step of partial pivoting."""
    a = numpy.eye(n) - numpy.tril(numpy.ones((n, n)), -1)
    a[:, -1] = 1
    return a


FULL_RANK = {
    "normal": normal,
    "uniform": lambda random, m, n: random.uniform(-1, 1, (m, n)),
    "graded rows": graded_rows,
    "graded columns": graded_columns,
    "cond 1e2": conditioned(2),
    "cond 1e8": conditioned(8),
    "cond 1e14": conditioned(14),
    "tiny": lambda random, m, n: normal(random, m, n) * 1e-290,
    "huge": lambda random, m, n: normal(random, m, n) * 1e290,
    "identity": lambda random, m, n: numpy.eye(m, n),
}
SINGULAR = {
    "rank 3": lambda random, m, n: normal(random, m, 3) @ normal(random, 3, n),
    "zero row and column": zero_row_and_column,
    "ones": lambda random, m, n: numpy.ones((m, n)),
    "zero": lambda random, m, n: numpy.zeros((m, n)),
}
HARD = {
    "Kahan 60 x 60": kahan(60),
    "Hilbert 40 x 40": hilbert(40, 40),
    "Hilbert 50 x 12": hilbert(50, 12),
    "Lotkin 12 x 12": lotkin(12),
    "Lotkin 50 x 50": lotkin(50),
}


def named(random, kinds, shapes):
    """A matrix of each kind and shape, with its name."""
    for (m, n), (kind, make) in itertools.product(shapes, kinds.items()):
        yield f"{kind} {m} x {n}", make(random, m, n)


# Ragged, whole tiles, one tile, less than a tile, a tile and one more, single rows and columns.
SQUARE = [(100, 100)]
TALL = [(150, 70)]
WIDE = [(70, 150)]
SMALL_SQUARE = [(96, 96), (24, 24), (17, 17), (25, 25), (1, 1)]
SMALL_TALL = [(61, 5), (25, 24), (50, 1)]
SMALL_WIDE = [(5, 61), (24, 25), (1, 50)]
NORMAL = {"normal": normal}


def any_shape(random):
    yield from named(random, FULL_RANK | SINGULAR, SQUARE + TALL + WIDE)
    yield from named(random, NORMAL, SMALL_SQUARE + SMALL_TALL + SMALL_WIDE)
    yield from HARD.items()


def nonsingular(random):
    yield from named(random, FULL_RANK, SQUARE + [(53, 53)])
    yield from named(random, NORMAL, SMALL_SQUARE)
    yield from [("Kahan 60 x 60", kahan(60)), ("Hilbert 12 x 12", hilbert(12, 12)), ("Lotkin 12 x 12", lotkin(12))]


def definite(random):
    """Symmetric positive definite matrices, no number above the diagonal: the lower triangle alone may be read."""
    matrices = []
    for n in (100, 53):
        z = normal(random, n, n)
        gram = z @ z.T + n * numpy.eye(n)
        grades = numpy.logspace(0, -8, n)
        v = orthonormal(random, n, n)
        matrices += [
            ("gram", gram),
            ("graded", gram * grades[:, None] * grades),
            ("graded upwards", gram * grades[::-1, None] * grades[::-1]),
            ("tiny", gram * 1e-290),
            ("huge", gram * 1e290),
            ("identity", numpy.eye(n)),
            ("least indices", 1.0 + numpy.minimum.outer(numpy.arange(n), numpy.arange(n))),
            ("second differences", scipy.linalg.toeplitz([2.0, -1.0] + [0.0] * (n - 2))),
        ]
        # Beyond 1e12 LAPACK's own factorization may break down.
        for decades in (2, 8, 12):
            matrices.append((f"cond 1e{decades}", (v * numpy.logspace(0, -decades, n)) @ v.T))
    for n, _ in SMALL_SQUARE:
        z = normal(random, n, n + 5)
        matrices.append(("gram", z @ z.T))
    matrices.append(("Hilbert", hilbert(10, 10)))
    for kind, a in matrices:
        n = len(a)
        yield f"{kind} {n} x {n}", numpy.where(numpy.tri(n, dtype=bool), a, numpy.nan)


def right_sides(random, m, number):
    """One dimension, several columns, more than a tile of columns, in turn."""
    shape = [(m,), (m, 5), (m, 30)][number % 3]
    return random.standard_normal(shape)


def told(b):
    return "b of one dimension" if b.ndim == 1 else f"{b.shape[1]} right sides"


# Norms and ratios.


def norm(a):
    return numpy.linalg.norm(a, 1)


def ratio(error, *scales):
    """error over the product of scales, which may be too small for one number."""
    if error == 0:
        return 0.0
    if math.isnan(error):
        return math.inf
    for scale in scales:
        error = error / scale if scale > 0 else math.inf
    return float(error)


def scaled(a):
    """a / 4^e with entries of about 1, and e."""
    largest = abs(a).max()
    exponent = math.frexp(largest)[1] // 2 if largest > 0 else 0
    return numpy.ldexp(a, -2 * exponent), exponent


def scaled_system(a, x, b):
    """A X = B with entries of A and B of about 1, and X and B as columns."""
    (a, of_a), (b, of_b) = scaled(a), scaled(b)
    x = numpy.ldexp(x, 2 * (of_a - of_b))
    demand(numpy.isfinite(x).all(), "X is too large beside A and B")
    return a, columns(x), columns(b)


def columns(b):
    return b.reshape(len(b), -1)


def departure(q):
    """|I - Q'Q|"""
    return norm(numpy.eye(q.shape[1]) - q.T @ q)


def backward_error(a, x, b, size):
    """The worst column's |b - A x| / (size eps |A| |x|): dget02, dtrt02, dqrt16."""
    error = abs(b - a @ x).sum(axis=0)
    of_x = abs(x).sum(axis=0)
    return max(ratio(error[j], size * EPS, norm(a), of_x[j]) for j in range(len(error)))


def demand_upper(name, r):
    demand((numpy.tril(r, -1) == 0).all(), f"{name} is not zero below the diagonal")


# Operations.


def matrices_of_any_shape(random):
    return ((what, (a,)) for what, a in any_shape(random))


def qr(command, a):
    m, n = a.shape
    q, r = run(command, "qr", [a], {"q": (m, min(m, n)), "r": (min(m, n), n)})
    return factored(a, q, r)


def factored(a, q, r):
    m, n = a.shape
    demand_upper("R", r)
    a, exponent = scaled(a)
    error = norm(a - q @ numpy.ldexp(r, -2 * exponent))
    return {
        "|A - QR| / (max(m, n) eps |A|)": ratio(error, max(m, n) * EPS, norm(a)),
        "|I - Q'Q| / (m eps)": ratio(departure(q), m * EPS),
    }


def tall_matrices(random):
    matrices = itertools.chain(
        named(random, FULL_RANK | SINGULAR, TALL + [(333, 20)]),
        named(random, NORMAL, SMALL_SQUARE + SMALL_TALL),
        HARD.items(),
    )
    return ((what, (a,)) for what, a in matrices)


def tsqr(command, a):
    m, n = a.shape
    # One column of tiles.
    q, r = run(command, "tsqr", [a], {"q": (m, n), "r": (n, n)}, block=n)
    return factored(a, q, r)


def definite_matrices(random):
    return ((what, (a,)) for what, a in definite(random))


def symmetric(lower):
    return numpy.tril(lower) + numpy.tril(lower, -1).T


def cholesky(command, given):
    n = len(given)
    (l,) = run(command, "cholesky", [given], {"l": (n, n)})
    demand_upper("L'", l.T)
    demand((l.diagonal() > 0).all(), "L's diagonal is not positive")
    a, exponent = scaled(symmetric(given))
    l = numpy.ldexp(l, -exponent)
    return {"|A - LL'| / (n eps |A|)": ratio(norm(a - l @ l.T), n * EPS, norm(a))}


def matrices_for_lu(random):
    yield from ((what, (a, False)) for what, a in any_shape(random))
    yield from ((f"Wilkinson {n} x {n}", (wilkinson(n), True)) for n in (1, 24, 25, 40, 60, 100))


def lu(command, a, grows):
    m, n = a.shape
    k = min(m, n)
    l, u, p = run(command, "lu", [a], {"l": (m, k), "u": (k, n), "p": (m,)})
    demand((numpy.sort(p) == numpy.arange(m)).all(), "p is not an order of the rows")
    demand_upper("U", u)
    demand_upper("L'", l.T)
    demand((l.diagonal() == 1).all(), "L's diagonal is not of ones")
    a, exponent = scaled(a)
    u = numpy.ldexp(u, -2 * exponent)
    error = ratio(norm(a[p] - l @ u), max(m, n) * EPS, norm(a))
    largest, by_partial_pivoting = abs(u).max(), abs(scipy.linalg.lu(a)[2]).max()
    ratios = {"max |U| / max |U| by partial pivoting": ratio(largest, by_partial_pivoting)}
    if grows:
        # No bound without it holds: partial pivoting meets its worst case, max |U| = 2^(n - 1) max |A|.
        growth = by_partial_pivoting / abs(a).max()
        ratios["|A[p] - LU| / (max(m, n) eps |A| growth), growth by partial pivoting"] = ratio(error, growth)
    else:
        ratios["|A[p] - LU| / (max(m, n) eps |A|)"] = error
    return ratios


def products(random):
    forms = [(1, 0), (-0.5, 0), (2, 0.25), (1, 1), (0, 1), (3, -2), (-1, 0)]
    transposes = itertools.product([False, True], repeat=2)
    shapes = itertools.cycle([(100, 50, 70), (24, 96, 48), (17, 5, 30), (70, 1, 25), (1, 130, 1), (53, 53, 53)])
    kinds = itertools.cycle((FULL_RANK | SINGULAR).items())
    for (alpha, beta), (ta, tb) in itertools.product(forms, transposes):
        (m, k, n), (kind, make) = next(shapes), next(kinds)
        a, b, c0 = make(random, m, k), normal(random, k, n), normal(random, m, n) if beta else None
        yield described(kind, a, b, c0, alpha, beta, ta, tb)
    # Products that leave the range of normal numbers, and such that come back into it.
    a, b = normal(random, 30, 40), normal(random, 40, 30)
    yield described("tiny", a * 1e-160, b * 1e-160, None, 1, 0, False, False)
    yield described("tiny and huge", a * 1e-290, b * 1e290, None, 1, 0, True, False)


def described(kind, a, b, c0, alpha, beta, ta, tb):
    (m, k), n = a.shape, b.shape[1]
    left, right = "A'" if ta else "A", "B'" if tb else "B"
    what = f"{kind} {m} x {k} times {k} x {n}, {alpha} {left} {right} + {beta} C"
    return what, (a, b, c0, alpha, beta, ta, tb)


def gemm(command, a, b, c0, alpha, beta, ta, tb):
    """C = alpha A B + beta C0, where A and B are what op() makes of the inputs."""
    (m, k), n = a.shape, b.shape[1]
    inputs = [a.T if ta else a, b.T if tb else b] + ([] if c0 is None else [c0])
    options = ["--alpha", alpha] + (["--beta", beta] if beta else []) + ta * ["--ta"] + tb * ["--tb"]
    (c,) = run(command, "gemm", inputs, {"c": (m, n)}, options)
    a, b, c0 = (numpy.asarray(0 if x is None else x, dtype=numpy.longdouble) for x in (a, b, c0))
    error = abs(c - (alpha * (a @ b) + beta * c0))
    scale = abs(alpha) * (abs(a) @ abs(b)) + abs(beta * c0)
    # What underflows is wrong by half of the smallest number at each of k + 2 roundings.
    error = numpy.maximum(error - (k + 2) * numpy.longdouble(2.0**-1074) / 2, 0)
    definition = "worst entry of |C - (alpha op(A) op(B) + beta C0)| / ((k + 2) eps (|alpha| |A| |B| + |beta C0|))"
    return {definition: max(ratio(e, (k + 2) * EPS, s) for e, s in zip(error.flat, scale.flat))}


def triangles(random):
    """R of matrices of many kinds, which is as close to singular as they are; not numbers where nobody may look."""
    matrices = list(nonsingular(random))
    forms = list(itertools.product([False, True], repeat=3))
    # Each matrix in some form, and two matrices in all.
    pairs = itertools.chain(zip(matrices, itertools.cycle(forms)), itertools.product(matrices[:2], forms))
    for number, ((what, a), (upper, trans, unit)) in enumerate(pairs):
        n = len(a)
        t = numpy.linalg.qr(a)[1]
        if unit:
            # Off the diagonal at most 1 in size, so that X stays finite.
            t /= abs(t).max()
        used = numpy.tri(n, k=-1 if unit else 0, dtype=bool)
        given = numpy.where(used.T, t, numpy.nan) if upper else numpy.where(used, t.T, numpy.nan)
        b = right_sides(random, n, number)
        form = "unit " * unit + ("upper" if upper else "lower") + " triangle" + " transposed" * trans
        yield f"{form}, R of {what}, {told(b)}", (given, b, upper, trans, unit)


def trsm(command, given, b, upper, trans, unit):
    options = upper * ["--upper"] + trans * ["--trans"] + unit * ["--unit"]
    (x,) = run(command, "trsm", [given, b], {"x": b.shape}, options)
    t = numpy.nan_to_num(given, nan=0.0) + unit * numpy.eye(len(given))
    t, x, b = scaled_system(t.T if trans else t, x, b)
    return {"|B - op(T) X| / (n eps |op(T)| |X|)": backward_error(t, x, b, len(t))}


def systems(random):
    for number, (what, a) in enumerate(nonsingular(random)):
        b = right_sides(random, len(a), number)
        yield f"{what}, {told(b)}", (a, b)


def solve(command, a, b):
    (x,) = run(command, "solve", [a, b], {"x": b.shape})
    a, x, b = scaled_system(a, x, b)
    return {"|B - AX| / (n eps |A| |X|)": backward_error(a, x, b, len(a))}


def definite_systems(random):
    for number, (what, a) in enumerate(definite(random)):
        b = right_sides(random, len(a), number)
        yield f"{what}, {told(b)}", (a, b)


def posv(command, given, b):
    (x,) = run(command, "posv", [given, b], {"x": b.shape})
    a, x, b = scaled_system(symmetric(given), x, b)
    return {"|B - AX| / (n eps |A| |X|)": backward_error(a, x, b, len(a))}


def least_squares(random):
    matrices = itertools.chain(
        named(random, FULL_RANK, TALL + WIDE + [(53, 53), (20, 61)]),
        named(random, NORMAL, SMALL_SQUARE + SMALL_TALL + SMALL_WIDE),
        [("Kahan 60 x 60", kahan(60)), ("Hilbert 50 x 8", hilbert(50, 8)), ("Hilbert 8 x 50", hilbert(8, 50))],
    )
    for number, (what, a) in enumerate(matrices):
        m, n = a.shape
        b = right_sides(random, m, number)
        yield f"{what}, {told(b)}", (a, b, False)
        unit = scaled(a)[0]
        if m >= n:
            b = a @ (right_sides(random, n, number + 1) / n)
            yield f"{what}, {told(b)} in the range of A", (a, b, True)
        elif numpy.linalg.cond(unit) < 1e9:
            b = a @ (unit.T @ right_sides(random, m, number + 1)) / n
            yield f"{what}, {told(b)} in the range of AA'", (a, b, True)


def lstsq(command, a, b, benign):
    """benign: B is A W (for m < n A A'W) with W of moderate size, so that X is W (A'W) and not much larger than B / A.

    LAPACK's tests take such right sides alone, of matrices far from singular. For others, dqrt17 and dqrt14 measure
    how close to singular A is, and what is measured instead is a backward error as well.
    """
    m, n = a.shape
    (x,) = run(command, "lstsq", [a, b], {"x": (n,) + b.shape[1:]})
    a, x, b = scaled_system(a, x, b)
    size = max(m, n, b.shape[1])
    ratios = {}
    if benign or m <= n:
        ratios["|B - AX| / (max(m, n) eps |A| |X|) where AX = B"] = backward_error(a, x, b, max(m, n))
    if m < n:
        outside, y = outside_rows(a, x)
        if benign:
            ratios["dqrt14: X outside of A's row space, B = AA'W"] = ratio(outside.max(), size * EPS)
        else:
            # With dA of this size, X lies in the row space of A + dA.
            changed = (outside / numpy.maximum(1, y)).max()
            ratios["|dA| / (max(m, n, nrhs) eps |A|), X in the row space of A + dA"] = ratio(changed, size * EPS)
    else:
        r = b - a @ x
        error = norm(r.T @ a)
        if benign:
            definition, reach = "dqrt17: |R'A| / (max(m, n, nrhs) eps |A| |B|), R = B - AX, B = AW", norm(b)
        else:
            # B - AX is the difference of numbers of this size.
            reach = norm(b) + norm(a) * norm(x)
            definition = "|R'A| / (max(m, n, nrhs) eps |A| (|B| + |A| |X|)), R = B - AX, any B"
        ratios[definition] = ratio(error, size * EPS, norm(a), reach)
    return ratios


def outside_rows(a, x):
    """The largest entry of what is left of each x beside A's rows, and of the y with x = A'y + that, by LQ of [A; X'].

    Entries of A and X are at most 1 here.
    """
    m = len(a)
    rows = numpy.vstack([a / abs(a).max(), x.T / (abs(x).max() or 1)])
    l = scipy.linalg.qr(rows.T, mode="r")[0].T
    y = scipy.linalg.solve_triangular(l[:m, :m], l[m:, :m].T, trans="T", lower=True)
    return abs(l[m:, m:]).max(axis=1), abs(y).max(axis=0)


def svd(command, a):
    m, n = a.shape
    k = min(m, n)
    (alone,) = run(command, "svd", [a], {"s": (k,)})
    s, u, vt = run(command, "svd", [a], {"s": (k,), "u": (m, k), "vt": (k, n)})
    a, exponent = scaled(a)
    expected = scipy.linalg.svdvals(a)
    for values in (alone, s):
        demand((values >= 0).all() and (numpy.diff(values) <= 0).all(), "s is negative or not in descending order")
    alone, s = numpy.ldexp(alone, -2 * exponent), numpy.ldexp(s, -2 * exponent)
    size = max(m, n) * EPS
    distance = lambda values: ratio(abs(values - expected).max(), size, expected[0])
    return {
        "values alone: max |s - s by LAPACK| / (max(m, n) eps s[0])": distance(alone),
        "values with vectors: max |s - s by LAPACK| / (max(m, n) eps s[0])": distance(s),
        "|A - U diag(s) V'| / (max(m, n) eps |A|)": ratio(norm(a - (u * s) @ vt), size, norm(a)),
        "|I - U'U| / (m eps)": ratio(departure(u), m * EPS),
        "|I - V'V| / (n eps)": ratio(departure(vt.T), n * EPS),
    }


def truncated_svd(command, a):
    m, n = a.shape
    rank = min(m, n, 5)
    shapes = {"s": (rank,), "u": (m, rank), "vt": (rank, n)}
    s, u, vt = run(command, "svd", [a], shapes, ["--rank", rank])
    a, exponent = scaled(a)
    s = numpy.ldexp(s, -2 * exponent)
    expected = scipy.linalg.svdvals(a)
    size = max(m, n) * EPS
    demand((s >= 0).all() and (numpy.diff(s) <= 0).all(), "s is negative or not in descending order")
    above = (s - expected[:rank]).max()
    demand(above <= BOUND * size * expected[0], f"a value is above LAPACK's by {above:.3g}")
    ratios = {
        # What a subspace of the columns has of A it has exactly, however near it is to the best one.
        "|A'U - V diag(s)| / (max(m, n) eps |A'|)": ratio(norm(a.T @ u - vt.T * s), size, norm(a.T)),
        "|I - U'U| / (m eps)": ratio(departure(u), m * EPS),
        "|I - V'V| / (n eps)": ratio(departure(vt.T), n * EPS),
    }
    if rank < min(m, n) and expected[rank] > BOUND * size * expected[0]:
        left = scipy.linalg.svdvals(a - (u * s) @ vt)[0]
        ratios["|A - U diag(s) V'|_2 / the largest value left out"] = left / expected[rank]
    return ratios


# Of each: what makes its problems, which are names and arguments of the check; and the check, which runs the command.
OPERATIONS = {
    "qr": (matrices_of_any_shape, qr),
    "tsqr": (tall_matrices, tsqr),
    "cholesky": (definite_matrices, cholesky),
    "lu": (matrices_for_lu, lu),
    "gemm": (products, gemm),
    "trsm": (triangles, trsm),
    "solve": (systems, solve),
    "posv": (definite_systems, posv),
    "lstsq": (least_squares, lstsq),
    "svd": (matrices_of_any_shape, svd),
    "svd --rank": (matrices_of_any_shape, truncated_svd),
}


if __name__ == "__main__":
    main()
