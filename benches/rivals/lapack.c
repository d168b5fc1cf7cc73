/*
 * Times one call of LAPACK or BLAS in one process: potrf, gemm, geqrf or the singular values by gesdd, on a
 * matrix that is computed, and prints a line of JSON. Owns the matrix and its probe; never chooses a library,
 * its threads or its kernels, and reads and writes no file: the benchmark `rivals` decides and compares.
 *
 *   lapack potrf|gemm|gesdd N [REPEATS]
 *   lapack geqrf M N [REPEATS]
 *
 * Before the timed call the same routine runs on a small matrix, so that threads and BLAS's buffers are there.
 * Exit status: 0 when every result is sound, 2 for bad arguments, 1 for all else.
 */
#define _POSIX_C_SOURCE 199309L
#include "kernels.h"
#include "uniform.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Fortran is told the length of each text after all else. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);
extern void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
                    const int *lwork, int *info);
extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
                    const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *iwork,
                    int *info, size_t jobz_length);
extern void dgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
                   const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
                   const double *beta, double *c, const int *ldc, size_t transa_length, size_t transb_length);

enum {
    SIDE_MAX = 1 << 20,
    REPEATS_MAX = 1000,
    /* Side of the matrix that warms up: enough for every thread to get work. */
    WARM = 512,
};

/* Largest relative error of a probe that is sound: n rounding errors, n up to SIDE_MAX, are 1e-10. */
static const double PROBE_MAX = 1e-9;

static const char USAGE[] = "expected potrf|gemm|gesdd N [REPEATS], or geqrf M N [REPEATS]";

typedef enum { POTRF, GEMM, GEQRF, GESDD } Routine;

static const char *const NAMES[] = {"potrf", "gemm", "geqrf", "gesdd"};

typedef struct {
    Routine routine;
    int m, n, repeats;
} Case;

/* Which entries of a factor that lies in the matrix belong to it. */
typedef enum { ALL, LOWER, UPPER } Part;

/* ---- errors and memory */

__attribute__((noreturn)) static void fail(const char *what, double got)
{
    fprintf(stderr, "lapack: %s, got %g\n", what, got);
    exit(EXIT_FAILURE);
}

static double *allocate(int rows, int columns)
{
    size_t count = (size_t)rows * (size_t)columns;
    double *memory = calloc(count > 0 ? count : 1, sizeof(double));
    if (memory == NULL) {
        fail("no memory for a matrix: expected less numbers", (double)count);
    }
    return memory;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- matrices, column-major without gaps */

/* A matrix `seed`; a definite one is symmetric, with n more on the diagonal than the sum of the other entries'
 * absolute values can reach. */
static double *matrix(int m, int n, uint64_t seed, bool definite)
{
    double *a = allocate(m, n);
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            bool swapped = definite && i > j;
            double entry = swapped ? uniform(seed, j, i) : uniform(seed, i, j);
            a[(size_t)j * (size_t)m + (size_t)i] = definite && i == j ? entry + n : entry;
        }
    }
    return a;
}

/* The product of a part of a matrix, or of its transpose, and a vector, NULL for that of ones; frees the vector. */
static double *product(const double *a, int m, int n, Part part, bool transposed, double *x)
{
    double *y = allocate(transposed ? n : m, 1);
    for (int j = 0; j < n; j++) {
        int from = part == LOWER ? j : 0, to = part == UPPER && j + 1 < m ? j + 1 : m;
        for (int i = from; i < to; i++) {
            double entry = a[(size_t)j * (size_t)m + (size_t)i];
            if (transposed) {
                y[j] += entry * (x == NULL ? 1.0 : x[i]);
            } else {
                y[i] += entry * (x == NULL ? 1.0 : x[j]);
            }
        }
    }
    free(x);
    return y;
}

static double *squares(const double *entries, size_t count)
{
    double *sum = allocate(1, 1);
    for (size_t at = 0; at < count; at++) {
        sum[0] += entries[at] * entries[at];
    }
    return sum;
}

/* Fails unless two probes are equal up to rounding; frees both. */
static void expect_same(double *expected, double *got, int count)
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
        fail("expected the result's probe within 1e-9 of the matrix's", error / scale);
    }
}

/* ---- the timed calls */

static void expect_info_0(int info)
{
    if (info != 0) {
        fail("expected info 0", info);
    }
}

static double time_potrf(int n, double *a)
{
    int info = 0;
    double start = now();
    dpotrf_("L", &n, a, &n, &info, 1);
    double seconds = now() - start;
    expect_info_0(info);
    return seconds;
}

static double time_gemm(int n, const double *a, const double *b, double *c)
{
    const double one = 1.0, zero = 0.0;
    double start = now();
    dgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n, 1, 1);
    return now() - start;
}

/* The workspace that a routine asked for. */
static double *workspace(double wanted, int *count)
{
    if (!(wanted >= 1.0 && wanted <= (double)INT_MAX)) {
        fail("expected a workspace of 1 to 2147483647 numbers", wanted);
    }
    *count = (int)wanted;
    return allocate(*count, 1);
}

static double time_geqrf(int m, int n, double *a)
{
    int info = 0, count = -1;
    double wanted = 0.0;
    double *tau = allocate(n, 1);
    dgeqrf_(&m, &n, a, &m, tau, &wanted, &count, &info);
    expect_info_0(info);
    double *work = workspace(wanted, &count);
    double start = now();
    dgeqrf_(&m, &n, a, &m, tau, work, &count, &info);
    double seconds = now() - start;
    expect_info_0(info);
    free(work);
    free(tau);
    return seconds;
}

static double time_gesdd(int n, double *a, double *s)
{
    int info = 0, count = -1, *integers = calloc(8 * (size_t)n, sizeof(int));
    double wanted = 0.0, none = 0.0;
    const int one = 1;
    dgesdd_("N", &n, &n, a, &n, s, &none, &one, &none, &one, &wanted, &count, integers, &info, 1);
    expect_info_0(info);
    double *work = workspace(wanted, &count);
    double start = now();
    dgesdd_("N", &n, &n, a, &n, s, &none, &one, &none, &one, work, &count, integers, &info, 1);
    double seconds = now() - start;
    expect_info_0(info);
    free(work);
    free(integers);
    return seconds;
}

/* Fills, probes, times one call, and probes its result: potrf A e = L L' e, gemm C' e = B' A' e,
 * geqrf A' A e = R' R e, gesdd |A|^2 = |s|^2. */
static double measure(const Case *this)
{
    int m = this->m, n = this->n;
    double *a = matrix(m, n, 1, this->routine == POTRF), *expected = NULL, *got = NULL, seconds = 0.0;
    int count = n;
    switch (this->routine) {
    case POTRF:
        expected = product(a, n, n, ALL, false, NULL);
        seconds = time_potrf(n, a);
        got = product(a, n, n, LOWER, false, product(a, n, n, LOWER, true, NULL));
        break;
    case GEMM: {
        double *b = matrix(n, n, 2, false), *c = allocate(n, n);
        memset(c, 0, (size_t)n * (size_t)n * sizeof(double));
        expected = product(b, n, n, ALL, true, product(a, n, n, ALL, true, NULL));
        seconds = time_gemm(n, a, b, c);
        got = product(c, n, n, ALL, true, NULL);
        free(b);
        free(c);
        break;
    }
    case GEQRF:
        expected = product(a, m, n, ALL, true, product(a, m, n, ALL, false, NULL));
        seconds = time_geqrf(m, n, a);
        /* R is the upper trapezoid of the first rows; what lies below is none of it. */
        got = product(a, m, n, UPPER, true, product(a, m, n, UPPER, false, NULL));
        break;
    case GESDD: {
        double *s = allocate(n, 1);
        expected = squares(a, (size_t)n * (size_t)n);
        seconds = time_gesdd(n, a, s);
        got = squares(s, (size_t)n);
        free(s);
        count = 1;
        break;
    }
    }
    expect_same(expected, got, count);
    free(a);
    return seconds;
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

static bool parse_case(int count, char **texts, Case *this)
{
    bool known = false;
    for (size_t at = 0; count > 1 && at < sizeof NAMES / sizeof *NAMES; at++) {
        if (strcmp(texts[1], NAMES[at]) == 0) {
            this->routine = (Routine)at;
            known = true;
        }
    }
    int sides = this->routine == GEQRF ? 2 : 1, given = count - 2;
    if (!known || (given != sides && given != sides + 1)) {
        return false;
    }
    bool sound = parse(texts[2], SIDE_MAX, &this->m) && parse(texts[1 + sides], SIDE_MAX, &this->n);
    this->repeats = 1;
    return sound && (given == sides || parse(texts[2 + sides], REPEATS_MAX, &this->repeats));
}

int main(int count, char **texts)
{
    Case this = {0};
    if (!parse_case(count, texts, &this)) {
        fprintf(stderr, "lapack: %s\n", USAGE);
        return 2;
    }
    Case warm = this;
    warm.m = this.m < WARM ? this.m : WARM;
    warm.n = this.n < WARM ? this.n : WARM;
    (void)measure(&warm);
    for (int repeat = 0; repeat < this.repeats; repeat++) {
        double seconds = measure(&this);
        printf("{\"routine\":\"%s\",\"m\":%d,\"n\":%d,\"seconds\":%.9f,\"core\":\"%s\"}\n", NAMES[this.routine],
               this.m, this.n, seconds, kernels_name());
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
