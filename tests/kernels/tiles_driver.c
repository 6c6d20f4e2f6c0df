/* Products and copies of tiles.c against plain loops in double precision, at every edge of a tile. Compiled with the
   same LONGLAG_DOUBLE as tiles.c; prints what is wrong and returns how many things are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#if LONGLAG_DOUBLE
typedef double real;
#define CLOSE 1e-13
#else
typedef float real;
#define CLOSE 2e-5
#endif

void longlag_multiply(long rows, long n, long k, const real *A, long lda, const real *packed, real *C, long ldc);
void longlag_pack(long n, long k, const real *W, long row_stride, long column_stride, real *packed);
void longlag_outer(long rows, long n, long k, const real *A, long lda, const real *S, long lds, real *G, long ldg);
void longlag_stream(real *to, const real *from, long count);
long longlag_panel(void);

static real *numbers(long count) {
    real *found = malloc(sizeof(real) * (size_t)count);
    for (long k = 0; k < count; k++) found[k] = (real)rand() / (real)RAND_MAX - (real)0.5;
    return found;
}

static int wrong(const char *what, long rows, long n, double error) {
    if (error <= CLOSE) return 0;
    printf("%s with %ld rows and %ld columns: off by %g\n", what, rows, n, error);
    return 1;
}

/* C[rows, n] += A[rows, k] M[k, n]; M is stored as it is, or by columns where `transposed` */
static int multiply(long rows, long n, long k, int transposed) {
    const long lda = k + 2, ldc = n + 3, panels = (n + longlag_panel() - 1) / longlag_panel();
    real *A = numbers(rows * lda), *M = numbers(n * k), *C = numbers(rows * ldc), *packed = NULL;
    double *wanted = malloc(sizeof(double) * (size_t)(rows * ldc)), error = 0;
    if (posix_memalign((void **)&packed, 64, sizeof(real) * (size_t)(panels * longlag_panel() * k))) exit(2);
    const long row_stride = transposed ? 1 : n, column_stride = transposed ? k : 1;
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < ldc; j++) {
            double sum = C[r * ldc + j];
            for (long i = 0; i < k && j < n; i++) sum += (double)A[r * lda + i] * M[i * row_stride + j * column_stride];
            wanted[r * ldc + j] = sum;
        }
    longlag_pack(n, k, M, row_stride, column_stride, packed);
    longlag_multiply(rows, n, k, A, lda, packed, C, ldc);
    for (long p = 0; p < rows * ldc; p++) error = fmax(error, fabs(C[p] - wanted[p]));
    free(A), free(M), free(C), free(packed), free(wanted);
    return wrong("a product", rows, n, error);
}

/* G[n, k] += A[rows, n]' S[rows, k] */
static int outer(long rows, long n, long k) {
    const long lda = n + 2, lds = k + 1, ldg = k + 3;
    real *A = numbers(rows * lda), *S = numbers(rows * lds), *G = numbers(n * ldg);
    double *wanted = malloc(sizeof(double) * (size_t)(n * ldg)), error = 0;
    for (long i = 0; i < n; i++)
        for (long j = 0; j < ldg; j++) {
            double sum = G[i * ldg + j];
            for (long r = 0; r < rows && j < k; r++) sum += (double)A[r * lda + i] * S[r * lds + j];
            wanted[i * ldg + j] = sum;
        }
    longlag_outer(rows, n, k, A, lda, S, lds, G, ldg);
    for (long p = 0; p < n * ldg; p++) error = fmax(error, fabs(G[p] - wanted[p]));
    free(A), free(S), free(G), free(wanted);
    return wrong("an outer product", rows, n, error);
}

static int stream(long shift, long count) {
    real *to = NULL, *from = numbers(count);
    int errors = 0;
    if (posix_memalign((void **)&to, 64, sizeof(real) * (size_t)(shift + count))) exit(2);
    longlag_stream(to + shift, from, count);
    for (long k = 0; k < count; k++) errors += to[shift + k] != from[k];
    free(to), free(from);
    return wrong("a copy", 1, count, errors);
}

int main(void) {
    static const long widths[] = {1, 15, 16, 33, 64};
    int errors = 0;
    for (long rows = 1; rows < 27; rows++)
        for (int w = 0; w < 5; w++)
            errors += multiply(rows, widths[w], 19, rows % 2) + outer(13 * rows, rows, widths[w]);
    for (long shift = 0; shift < 2; shift++) errors += stream(shift, 64) + stream(shift, 37);
    return errors;
}
