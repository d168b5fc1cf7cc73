/*
 * Times one call of ScaLAPACK: potrf, gemm, geqrf or getrf on a matrix that is computed, and prints a line
 * of JSON; with count.c, what its ranks received from each other in that call too. Owns the matrix and its
 * probe; never chooses a block, a grid or BLAS's kernels, and reads and writes no file: the benchmarks
 * `rivals` and `bytes` decide what is run and compare.
 *
 *   mpirun -n RANKS scalapack potrf|gemm|getrf N NB P Q [REPEATS]
 *   mpirun -n RANKS scalapack geqrf M N NB P Q [REPEATS]
 *
 * Before the timed call the same routine runs on a small matrix, so that connections and BLAS's buffers
 * are there; nothing but the timed call is counted. Exit status: 0 when every result is sound, 2 for bad
 * arguments, 1 for all else.
 */
#include "count.h"
#include "kernels.h"
#include "uniform.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* BLACS and ScaLAPACK ship no headers. Fortran is told the length of each text after all else. */
extern void Cblacs_get(int context, int what, int *value);
extern void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
extern void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
extern void Cblacs_gridexit(int context);
extern void Cblacs_exit(int keep_mpi);
extern int numroc_(const int *n, const int *nb, const int *at, const int *first, const int *count);
extern void descinit_(int *descriptor, const int *m, const int *n, const int *mb, const int *nb,
                      const int *first_row, const int *first_column, const int *context, const int *lead,
                      int *info);
extern void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia, const int *ja,
                     const int *desca, int *info, size_t uplo_length);
extern void pdgetrf_(const int *m, const int *n, double *a, const int *ia, const int *ja, const int *desca,
                     int *pivots, int *info);
extern void pdgeqrf_(const int *m, const int *n, double *a, const int *ia, const int *ja, const int *desca,
                     double *tau, double *work, const int *lwork, int *info);
/* PBLAS is C. */
extern void pdgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
                    const double *alpha, const double *a, const int *ia, const int *ja, const int *desca,
                    const double *b, const int *ib, const int *jb, const int *descb, const double *beta,
                    double *c, const int *ic, const int *jc, const int *descc);

enum {
    SIDE_MAX = 1 << 20,
    BLOCK_MAX = 1 << 14,
    GRID_MAX = 1 << 10,
    REPEATS_MAX = 1000,
    /* Blocks a side of the matrix that warms up. */
    WARM_BLOCKS = 4,
};

/* Largest relative error of a probe that is sound: n rounding errors, n up to SIDE_MAX, are 1e-10. */
static const double PROBE_MAX = 1e-9;

static const int ZERO = 0, ONE = 1;

static const char USAGE[] = "expected potrf|gemm|getrf N NB P Q [REPEATS], or geqrf M N NB P Q [REPEATS]";

typedef enum { POTRF, GEMM, GEQRF, GETRF } Routine;

static const char *const NAMES[] = {"potrf", "gemm", "geqrf", "getrf"};

typedef struct {
    Routine routine;
    int m, n, nb, p, q, repeats;
} Case;

typedef struct {
    int context, rows, columns, row, column;
} Grid;

/* What this rank holds of a block-cyclic matrix, column-major. */
typedef struct {
    const Grid *grid;
    int m, n, nb;
    int local_m, local_n;
    int descriptor[9];
    double *entries;
} Matrix;

/* Which entries of a packed factor belong to it. */
typedef enum { ALL, LOWER, UNIT_LOWER, UPPER } Part;

/* ---- errors and memory */

/* Says why, and ends every rank. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    /* One write a rank, so that lines of several ranks stay whole. */
    char why[512] = "";
    va_list list;
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    fprintf(stderr, "scalapack: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    abort();
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fail("no memory for %zu times %zu bytes: take a smaller matrix, or more ranks", count, size);
    }
    return memory;
}

/* ---- matrices */

/* The index in the whole matrix of a rank's local index. */
static int whole(int local, int nb, int at, int count)
{
    return (local / nb * count + at) * nb + local % nb;
}

static int row_of(const Matrix *a, int local)
{
    return whole(local, a->nb, a->grid->row, a->grid->rows);
}

static int column_of(const Matrix *a, int local)
{
    return whole(local, a->nb, a->grid->column, a->grid->columns);
}

static double *column_at(const Matrix *a, int local)
{
    return a->entries + (size_t)local * (size_t)a->local_m;
}

/* A matrix of zeros, whose pages are touched when it is filled. */
static Matrix matrix_new(const Grid *grid, int m, int n, int nb)
{
    Matrix a = {.grid = grid, .m = m, .n = n, .nb = nb};
    a.local_m = numroc_(&m, &nb, &grid->row, &ZERO, &grid->rows);
    a.local_n = numroc_(&n, &nb, &grid->column, &ZERO, &grid->columns);
    int lead = a.local_m > 1 ? a.local_m : 1, info = 0;
    descinit_(a.descriptor, &m, &n, &nb, &nb, &ZERO, &ZERO, &grid->context, &lead, &info);
    if (info != 0) {
        fail("descinit of %d x %d in blocks of %d: expected info 0, got %d", m, n, nb, info);
    }
    a.entries = allocate((size_t)a.local_m * (size_t)a.local_n, sizeof(double));
    return a;
}

/* Fills with matrix `seed`; a definite one is symmetric, with n more on the diagonal than the sum of the
 * other entries' absolute values can reach. */
static void matrix_fill(Matrix *a, uint64_t seed, bool definite)
{
    for (int lj = 0; lj < a->local_n; lj++) {
        double *column = column_at(a, lj);
        int j = column_of(a, lj);
        for (int li = 0; li < a->local_m; li++) {
            int i = row_of(a, li);
            bool swapped = definite && i > j;
            column[li] = swapped ? uniform(seed, j, i) : uniform(seed, i, j);
            if (definite && i == j) {
                column[li] += a->n;
            }
        }
    }
}

static void matrix_zero(Matrix *a)
{
    memset(a->entries, 0, (size_t)a->local_m * (size_t)a->local_n * sizeof(double));
}

static double entry_of(Part part, int i, int j, double entry)
{
    switch (part) {
    case ALL:
        return entry;
    case LOWER:
        return i >= j ? entry : 0.0;
    case UNIT_LOWER:
        return i > j ? entry : i == j ? 1.0 : 0.0;
    case UPPER:
        return i <= j ? entry : 0.0;
    }
    return 0.0;
}

/* The product of a part of `a`, or of its transpose, and a vector that every rank holds whole; the caller
 * frees it. NULL is the vector of ones. */
static double *product(const Matrix *a, Part part, bool transposed, const double *x)
{
    int length = transposed ? a->n : a->m;
    double *y = allocate((size_t)length, sizeof(double));
    for (int lj = 0; lj < a->local_n; lj++) {
        const double *column = column_at(a, lj);
        int j = column_of(a, lj);
        for (int li = 0; li < a->local_m; li++) {
            int i = row_of(a, li);
            double entry = entry_of(part, i, j, column[li]);
            int from = transposed ? i : j, to = transposed ? j : i;
            y[to] += x == NULL ? entry : entry * x[from];
        }
    }
    MPI_Allreduce(MPI_IN_PLACE, y, length, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return y;
}

/* op2(part2 of a2) op1(part1 of a1) e, where e is the vector of ones. */
static double *product_of_two(const Matrix *a1, Part part1, bool transposed1, const Matrix *a2, Part part2,
                              bool transposed2)
{
    double *x = product(a1, part1, transposed1, NULL);
    double *y = product(a2, part2, transposed2, x);
    free(x);
    return y;
}

/* ---- the timed calls */

/* Seconds of the slowest rank and, on rank 0, what was counted of all. */
typedef struct {
    double seconds;
    Counts counts;
} Measured;

static double begin(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    count_start();
    return MPI_Wtime();
}

static Measured end(double start)
{
    Measured measured = {.seconds = MPI_Wtime() - start};
    measured.counts = count_stop();
    MPI_Allreduce(MPI_IN_PLACE, &measured.seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return measured;
}

static void expect_info_0(const char *what, int info)
{
    if (info != 0) {
        fail("%s: expected info 0, got %d", what, info);
    }
}

static Measured time_potrf(Matrix *a)
{
    int info = 0;
    double start = begin();
    pdpotrf_("L", &a->n, a->entries, &ONE, &ONE, a->descriptor, &info, 1);
    Measured measured = end(start);
    expect_info_0("pdpotrf", info);
    return measured;
}

static Measured time_gemm(const Matrix *a, const Matrix *b, Matrix *c)
{
    const double one = 1.0, zero = 0.0;
    double start = begin();
    pdgemm_("N", "N", &c->m, &c->n, &a->n, &one, a->entries, &ONE, &ONE, a->descriptor, b->entries, &ONE,
            &ONE, b->descriptor, &zero, c->entries, &ONE, &ONE, c->descriptor);
    return end(start);
}

static Measured time_geqrf(Matrix *a)
{
    int info = 0, query = -1;
    double wanted = 0.0;
    double *tau = allocate((size_t)a->local_n, sizeof(double));
    pdgeqrf_(&a->m, &a->n, a->entries, &ONE, &ONE, a->descriptor, tau, &wanted, &query, &info);
    expect_info_0("pdgeqrf asked for its workspace", info);
    if (!(wanted >= 0.0 && wanted <= (double)INT_MAX)) {
        fail("pdgeqrf: expected a workspace of 0 to %d numbers, got %g", INT_MAX, wanted);
    }
    int count = wanted < 1.0 ? 1 : (int)wanted;
    double *work = allocate((size_t)count, sizeof(double));
    double start = begin();
    pdgeqrf_(&a->m, &a->n, a->entries, &ONE, &ONE, a->descriptor, tau, work, &count, &info);
    Measured measured = end(start);
    expect_info_0("pdgeqrf", info);
    free(work);
    free(tau);
    return measured;
}

static Measured time_getrf(Matrix *a)
{
    int info = 0;
    int *pivots = allocate((size_t)a->local_m + (size_t)a->nb, sizeof(int));
    double start = begin();
    pdgetrf_(&a->m, &a->n, a->entries, &ONE, &ONE, a->descriptor, pivots, &info);
    Measured measured = end(start);
    expect_info_0("pdgetrf", info);
    free(pivots);
    return measured;
}

/* ---- a case */

/* Fails unless two probes are equal up to rounding; frees both. */
static void expect_same(const char *what, double *expected, double *got, int count)
{
    double scale = 0.0, error = 0.0;
    for (int at = 0; at < count; at++) {
        scale = fmax(scale, fabs(expected[at]));
        double difference = fabs(expected[at] - got[at]);
        /* fmax leaves out what is no number, which must fail. */
        error = isnan(difference) ? INFINITY : fmax(error, difference);
    }
    free(expected);
    free(got);
    if (!(error <= PROBE_MAX * scale)) {
        fail("%s: expected the factors' product with ones within %g of the matrix's, got %g", what,
             PROBE_MAX, error / scale);
    }
}

/* Fills, probes, times one call, and probes its result: potrf A e = L L' e, gemm C' e = B' A' e,
 * geqrf A' A e = R' R e, getrf A' e = U' L' e, which no exchange of rows changes. */
static Measured measure(const Case *this, const Grid *grid)
{
    Matrix a = matrix_new(grid, this->m, this->n, this->nb);
    matrix_fill(&a, 1, this->routine == POTRF);
    double *expected = NULL, *got = NULL;
    Measured measured = {0};
    switch (this->routine) {
    case POTRF:
        expected = product(&a, ALL, false, NULL);
        measured = time_potrf(&a);
        got = product_of_two(&a, LOWER, true, &a, LOWER, false);
        break;
    case GEMM: {
        Matrix b = matrix_new(grid, this->n, this->n, this->nb);
        Matrix c = matrix_new(grid, this->m, this->n, this->nb);
        matrix_fill(&b, 2, false);
        matrix_zero(&c);
        expected = product_of_two(&a, ALL, true, &b, ALL, true);
        measured = time_gemm(&a, &b, &c);
        got = product(&c, ALL, true, NULL);
        free(b.entries);
        free(c.entries);
        break;
    }
    case GEQRF:
        expected = product_of_two(&a, ALL, false, &a, ALL, true);
        measured = time_geqrf(&a);
        got = product_of_two(&a, UPPER, false, &a, UPPER, true);
        break;
    case GETRF:
        expected = product(&a, ALL, true, NULL);
        measured = time_getrf(&a);
        got = product_of_two(&a, UNIT_LOWER, true, &a, UPPER, true);
        break;
    }
    expect_same(NAMES[this->routine], expected, got, this->n);
    free(a.entries);
    return measured;
}

static void print(const Case *this, const Measured *measured)
{
    printf("{\"routine\":\"%s\",\"m\":%d,\"n\":%d,\"nb\":%d,\"p\":%d,\"q\":%d,\"seconds\":%.9f,"
           "\"core\":\"%s\"",
           NAMES[this->routine], this->m, this->n, this->nb, this->p, this->q, measured->seconds,
           kernels_name());
    if (COUNTED) {
        const Counts *counts = &measured->counts;
        printf(",\"point_bytes\":%" PRIu64 ",\"point_messages\":%" PRIu64 ",\"collective_bytes\":%" PRIu64
               ",\"collective_messages\":%" PRIu64,
               counts->point.bytes, counts->point.messages, counts->collective.bytes,
               counts->collective.messages);
    }
    printf("}\n");
    fflush(stdout);
}

static void run(const Case *this, const Grid *grid, int rank)
{
    int small = WARM_BLOCKS * this->nb;
    Case warm = *this;
    warm.m = this->m < small ? this->m : small;
    warm.n = this->n < small ? this->n : small;
    (void)measure(&warm, grid);
    for (int repeat = 0; repeat < this->repeats; repeat++) {
        Measured measured = measure(this, grid);
        if (rank == 0) {
            print(this, &measured);
        }
    }
}

/* ---- arguments */

/* Reads a number of 1 to `most`. */
static bool parse(const char *text, int most, int *value)
{
    char *rest = NULL;
    errno = 0;
    long number = strtol(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0' || number < 1 || number > most) {
        return false;
    }
    *value = (int)number;
    return true;
}

/* What is wrong with the arguments, in `why`; false when nothing is. */
static bool refuse_arguments(int count, char **texts, Case *this, char *why, size_t length)
{
    bool known = false;
    for (size_t at = 0; count > 1 && at < sizeof NAMES / sizeof *NAMES; at++) {
        if (strcmp(texts[1], NAMES[at]) == 0) {
            this->routine = (Routine)at;
            known = true;
        }
    }
    if (!known) {
        snprintf(why, length, "%s; got %s", USAGE, count > 1 ? texts[1] : "nothing");
        return true;
    }
    struct {
        const char *name;
        int most, *value;
    } wanted[] = {{"M", SIDE_MAX, &this->m}, {"N", SIDE_MAX, &this->n},
                  {"NB", BLOCK_MAX, &this->nb}, {"P", GRID_MAX, &this->p},
                  {"Q", GRID_MAX, &this->q}, {"REPEATS", REPEATS_MAX, &this->repeats}};
    const int total = (int)(sizeof wanted / sizeof *wanted);
    int first = this->routine == GEQRF ? 0 : 1, given = count - 2;
    if (given != total - first && given != total - first - 1) {
        snprintf(why, length, "%s; got %d numbers", USAGE, given);
        return true;
    }
    this->repeats = 1;
    for (int at = 0; at < given; at++) {
        if (!parse(texts[2 + at], wanted[first + at].most, wanted[first + at].value)) {
            snprintf(why, length, "%s: expected a whole number of 1 to %d, got %s", wanted[first + at].name,
                     wanted[first + at].most, texts[2 + at]);
            return true;
        }
    }
    if (first == 1) {
        this->m = this->n;
    }
    return false;
}

/* What is wrong with the sizes; the rank at (0, 0) holds most, so that all ranks decide alike. */
static bool refuse_sizes(const Case *this, int ranks, char *why, size_t length)
{
    if (this->p * this->q != ranks) {
        snprintf(why, length, "a grid of %d x %d takes %d ranks, got %d: set P and Q, or mpirun -n", this->p,
                 this->q, this->p * this->q, ranks);
        return true;
    }
    int64_t rows = numroc_(&this->m, &this->nb, &ZERO, &ZERO, &this->p);
    int64_t columns = numroc_(&this->n, &this->nb, &ZERO, &ZERO, &this->q);
    if (rows * columns > INT_MAX) {
        snprintf(why, length, "a rank would hold %lld entries, ScaLAPACK counts to %d: take more ranks",
                 (long long)(rows * columns), INT_MAX);
        return true;
    }
    return false;
}

int main(int count, char **texts)
{
    int rank = 0, ranks = 0;
    MPI_Init(&count, &texts);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    Case this = {0};
    char why[256] = "";
    if (refuse_arguments(count, texts, &this, why, sizeof why) ||
        refuse_sizes(&this, ranks, why, sizeof why)) {
        if (rank == 0) {
            fprintf(stderr, "scalapack: %s\n", why);
        }
        MPI_Finalize();
        return 2;
    }
    Grid grid = {0};
    Cblacs_get(-1, 0, &grid.context);
    Cblacs_gridinit(&grid.context, "Row", this.p, this.q);
    Cblacs_gridinfo(grid.context, &grid.rows, &grid.columns, &grid.row, &grid.column);
    if (grid.rows != this.p || grid.columns != this.q) {
        fail("expected a grid of %d x %d, got %d x %d", this.p, this.q, grid.rows, grid.columns);
    }
    run(&this, &grid, rank);
    Cblacs_gridexit(grid.context);
    Cblacs_exit(1);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
