/* Weights that cells derive from other tensors, and their derivatives; `maps.py` calls them. Matrices are row-major. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "portable.h"
#include "real.h"

/* The functions of `tiles.c`: the time loop has just used them, so they are in the caches, and a BLAS is not */
static void (*multiply)(long, long, long, const real *, long, const real *, real *, long);
static void (*pack)(long, long, const real *, long, long, real *);
static void (*outer)(long, long, long, const real *, long, const real *, long, real *, long);
static long panel;

void longlag_use(void *of_multiply, void *of_pack, void *of_outer, long of_panel) {
    multiply = of_multiply, pack = of_pack, outer = of_outer, panel = of_panel;
}

static real *allocate(long count) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, sizeof(real) * (size_t)(count > 0 ? count : 1)) ? NULL : memory;
}

/* How many values a packed n x n matrix takes, which begins at a multiple of 64 bytes */
static long packed(long n) { return (n + panel - 1) / panel * panel * n; }

static void clear(long n, real *C) { memset(C, 0, sizeof(real) * (size_t)(n * n)); }

static real size_of(real value) { return value < 0 ? -value : value; }

/* C += A B, or A B' */
static void add_product(long n, const real *A, const real *B, int transposed, real *C, real *panels) {
    pack(n, n, B, transposed ? 1 : n, transposed ? n : 1, panels);
    multiply(n, n, n, A, n, panels, C, n);
}

/* C += A' B */
static void add_outer(long n, const real *A, const real *B, real *C) { outer(n, n, n, A, n, B, n, C, n); }

/* Of a skew-symmetric n x n matrix S `above` holds the entries above the diagonal, row by row: S, and `value` on the
   diagonal */
static void unpack(long n, const real *above, real value, real *S) {
    for (long i = 0; i < n; i++) {
        S[i * n + i] = value;
        for (long j = i + 1; j < n; j++) {
            const real entry = *above++;
            S[i * n + j] = entry;
            S[j * n + i] = -entry;
        }
    }
}

/* The entries above the diagonal of scale (F - F') */
static void gather(long n, const real *F, real scale, real *above) {
    for (long i = 0; i < n; i++)
        for (long j = i + 1; j < n; j++) *above++ = scale * (F[i * n + j] - F[j * n + i]);
}

/* scale (M + sign M') in place; a sign of 1 or -1 */
static void fold(long n, real sign, real scale, real *M) {
    for (long i = 0; i < n; i++) {
        M[i * n + i] = scale * (M[i * n + i] + sign * M[i * n + i]);
        for (long j = 0; j < i; j++) {
            const real entry = scale * (M[i * n + j] + sign * M[j * n + i]);
            M[i * n + j] = entry;
            M[j * n + i] = sign * entry;
        }
    }
}

/* C = A B, A [m, k], B [k, n], few columns: vector code along the rows of A and of B's transpose */
static void narrow(long m, long n, long k, const real *A, const real *transposed, real *C) {
    for (long r = 0; r < m; r++)
        for (long i = 0; i < n; i++) {
            real sum = 0;
            SIMD_SUM(sum)
            for (long h = 0; h < k; h++) sum += A[r * k + h] * transposed[i * k + h];
            C[r * n + i] = sum;
        }
}

/* The rows of P E, and E itself from row `before` on; P [m, k], E [k, n]. Returns 1 without memory. */
int longlag_embedded(long m, long k, long n, long before, const real *P, const real *E, real *result) {
    real *transposed = allocate(k * n);
    if (!transposed) return 1;
    for (long h = 0; h < k; h++)
        for (long i = 0; i < n; i++) transposed[i * k + h] = E[h * n + i];
    narrow(before, n, k, P, transposed, result);
    memcpy(result + before * n, E, sizeof(real) * (size_t)(k * n));
    narrow(m - before, n, k, P + before * k, transposed, result + (before + k) * n);
    free(transposed);
    return 0;
}

/* G [m + k, n], its rows `row_stride` and its columns `column_stride` apart, to the gradients by P and by E */
int longlag_embedded_adjoint(long m, long k, long n, long before, const real *P, const real *E, const real *G,
                             long row_stride, long column_stride, real *by_P, real *by_E) {
    real *transposed = allocate(2 * k * n);
    if (!transposed) return 1;
    real *by_transposed = transposed + k * n;
    for (long h = 0; h < k; h++)
        for (long i = 0; i < n; i++) {
            transposed[i * k + h] = E[h * n + i];
            by_transposed[i * k + h] = G[(before + h) * row_stride + i * column_stride];
        }
    memset(by_P, 0, sizeof(real) * (size_t)(m * k));
    for (long r = 0; r < m; r++)
        for (long i = 0; i < n; i++) {
            const real g = G[(r < before ? r : r + k) * row_stride + i * column_stride];
            SIMD
            for (long h = 0; h < k; h++) {
                by_P[r * k + h] += g * transposed[i * k + h];
                by_transposed[i * k + h] += g * P[r * k + h];
            }
        }
    for (long h = 0; h < k; h++)
        for (long i = 0; i < n; i++) by_E[h * n + i] = by_transposed[i * k + h];
    free(transposed);
    return 0;
}

/* A matrix whose rows lie `row_stride` apart and whose columns lie `column_stride` apart */
static void take(long n, const real *from, long row_stride, long column_stride, real *to) {
    if (column_stride == 1 && row_stride == n) {
        memcpy(to, from, sizeof(real) * (size_t)(n * n));
        return;
    }
    for (long i = 0; i < n; i++)
        for (long j = 0; j < n; j++) to[i * n + j] = from[i * row_stride + j * column_stride];
}

/* S - diffusion 1 */
int longlag_damped(long n, const real *above, double diffusion, real *result) {
    unpack(n, above, (real)-diffusion, result);
    return 0;
}

int longlag_damped_adjoint(long n, const real *gradient, long row_stride, long column_stride, real *by_above) {
    for (long i = 0; i < n; i++)
        for (long j = i + 1; j < n; j++)
            *by_above++ = gradient[i * row_stride + j * column_stride] - gradient[j * row_stride + i * column_stride];
    return 0;
}

#define LANES 16
typedef real lanes __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real)), may_alias));

/* M^-1 in place, by Gauss and Jordan with the largest pivot of a column; a vector of columns at a time, which is fast
   as long as M lies in the first cache. `times`: n values to work with. */
static void invert(long n, real *M, real *times, long *pivots) {
    for (long k = 0; k < n; k++) {
        for (long i = 0; i < n; i++) times[i] = M[i * n + k];
        long most = k;
        for (long i = k + 1; i < n; i++) most = size_of(times[i]) > size_of(times[most]) ? i : most;
        pivots[k] = most;
        real *row = M + k * n, *other = M + most * n;
        const real scale = 1 / times[most];
        times[most] = times[k], times[k] = 0;
        for (long j = 0; j < n; j++) {
            const real entry = other[j];
            other[j] = row[j], row[j] = entry * scale;
        }
        for (long i = 0; i < n; i++) M[i * n + k] = 0;
        row[k] = scale;
        long j = 0;
        for (; j + LANES <= n; j += LANES) {
            const lanes own = *(const lanes *)(row + j);
            UNROLL_BY(4)
            for (long i = 0; i < n; i++) *(lanes *)(M + i * n + j) -= times[i] * own;
        }
        for (; j < n; j++)
            for (long i = 0; i < n; i++) M[i * n + j] -= times[i] * row[j];
    }
    for (long k = n - 1; k >= 0; k--) {
        if (pivots[k] == k) continue;
        for (long i = 0; i < n; i++) {
            const real entry = M[i * n + k];
            M[i * n + k] = M[i * n + pivots[k]], M[i * n + pivots[k]] = entry;
        }
    }
}

/* 2 (1 + S)^-1 D - D with D = diag(1, ..., 1, -1, ..., -1), `negative` of them -1; keeps the inverse. Returns 1 without
   memory. An infinite entry, which elimination might turn into finite ones, gives NaN. */
int longlag_cayley(long n, const real *above, long negative, real *inverse, real *result) {
    long *pivots = malloc((sizeof(long) + sizeof(real)) * (size_t)n);
    if (!pivots) return 1;
    real poison = 0; /* or NaN */
    SIMD_SUM(poison)
    for (long k = 0; k < n * (n - 1) / 2; k++) poison += 0 * above[k];
    unpack(n, above, 1 + poison, inverse);
    invert(n, inverse, (real *)(pivots + n), pivots);
    for (long i = 0; i < n; i++) {
        for (long j = 0; j < n - negative; j++) result[i * n + j] = 2 * inverse[i * n + j];
        for (long j = n - negative; j < n; j++) result[i * n + j] = -2 * inverse[i * n + j];
        result[i * n + i] -= i < n - negative ? 1 : -1;
    }
    free(pivots);
    return 0;
}

int longlag_cayley_adjoint(long n, const real *inverse, long negative, const real *gradient, long row_stride,
                           long column_stride, real *by_above) {
    real *panels = allocate(packed(n) + 2 * n * n);
    if (!panels) return 1;
    real *work = panels + packed(n), *other = work + n * n;
    take(n, gradient, row_stride, column_stride, work);
    for (long i = 0; i < n; i++)
        for (long j = n - negative; j < n; j++) work[i * n + j] = -work[i * n + j];
    clear(n, other);
    add_outer(n, inverse, work, other);
    clear(n, work);
    add_product(n, other, inverse, 1, work, panels);
    gather(n, work, -2, by_above);
    free(panels);
    return 0;
}

/* exp(S): the polynomial of `scheme` [5, 5] of S / 2^k, squared k times until it is exp(S). Returns k; where that is
   more than `room`, nothing else is done; -1 without memory. Keeps [7 + k, n, n]: the powers 1, 2 and 3, four sums, and
   what was squared. S' = -S and (S S)' = S S spare transposing them. */
int longlag_exponential(long n, const real *above, const real *scheme, double limit, long room, real *kept,
                        real *result) {
    const long area = n * n;
    real *skew = kept, *square = skew + area, *cube = square + area;
    real *first = cube + area, *fifth = first + area, *third = fifth + area, *ninth = third + area;
    real *panels = allocate(packed(n) + area);
    if (!panels) return -1;
    real *sixth = panels + packed(n); /* it, and the square until it is scaled, with the sign transposed */
    unpack(n, above, 0, skew);
    clear(n, square);
    add_outer(n, skew, skew, square);
    double most = 0;
    for (long i = 0; i < n; i++) {
        real sum = 0;
        SIMD_SUM(sum)
        for (long j = 0; j < n; j++) sum += size_of(square[i * n + j]);
        if (!(sum <= most)) most = sum;
    }
    const double norm = sqrt(most);
    const long halvings = norm > limit && norm < INFINITY ? (long)ceil(log2(norm / limit)) : 0;
    if (halvings > room) {
        free(panels);
        return (int)halvings;
    }
    const real half = (real)ldexp(1, (int)-halvings), quarter = -half * half;
    for (long k = 0; k < area; k++) skew[k] *= half, square[k] *= quarter;
    clear(n, cube);
    add_outer(n, square, skew, cube);
    clear(n, sixth);
    add_outer(n, cube, cube, sixth);
    real *sums[5] = {first, result, third, ninth, fifth};
    for (int s = 0; s < 5; s++) {
        const real *by = scheme + 5 * s, one = by[0], a = by[1], b = by[2], c = by[3], d = -by[4];
        real *sum = sums[s];
        SIMD
        for (long k = 0; k < area; k++) sum[k] = a * skew[k] + b * square[k] + c * cube[k] + d * sixth[k];
        if (one != 0)
            for (long i = 0; i < n; i++) sum[i * n + i] += one;
    }
    add_product(n, first, fifth, 0, ninth, panels);
    for (long k = 0; k < area; k++) third[k] += ninth[k];
    add_product(n, third, ninth, 0, result, panels);
    for (long h = 0; h < halvings; h++) {
        real *root = ninth + (h + 1) * area;
        memcpy(root, result, sizeof(real) * (size_t)area);
        clear(n, result);
        add_product(n, root, root, 0, result, panels);
    }
    free(panels);
    return (int)halvings;
}

/* Of a gradient by a power of S only the part counts that has the power's own symmetry. */
int longlag_exponential_adjoint(long n, const real *kept, long halvings, const real *scheme, const real *gradient,
                                long row_stride, long column_stride, real *by_above) {
    const long area = n * n;
    const real *skew = kept, *square = skew + area, *cube = square + area;
    const real *first = cube + area, *fifth = first + area, *third = fifth + area, *ninth = third + area;
    real *panels = allocate(packed(n) + 6 * area);
    if (!panels) return 1;
    real *work = panels + packed(n);
    real *by_first = work, *by_second = work + area, *by_third = work + 2 * area, *by_fourth = work + 3 * area;
    real *by_fifth = work + 4 * area, *by_sixth = work + 5 * area;
    take(n, gradient, row_stride, column_stride, by_second);
    for (long h = halvings; h > 0; h--) { /* of X X: X' G + G X' */
        const real *root = ninth + h * area;
        real *next = by_third;
        clear(n, next);
        add_outer(n, root, by_second, next);
        add_product(n, by_second, root, 1, next, panels);
        by_third = by_second, by_second = next;
    }
    clear(n, by_third);
    add_product(n, by_second, ninth, 1, by_third, panels);
    memcpy(by_fourth, by_third, sizeof(real) * (size_t)area);
    add_outer(n, third, by_second, by_fourth); /* of the ninth power, and of what is added there */
    clear(n, by_first);
    add_product(n, by_fourth, fifth, 1, by_first, panels);
    clear(n, by_fifth);
    add_outer(n, first, by_fourth, by_fifth);
    /* from the gradients by the five sums to those by the powers, in the place of the first three and of the sixth */
    real *by_skew = by_first, *by_square = by_second, *by_cube = by_third;
    const real *s0 = scheme, *s1 = s0 + 5, *s2 = s1 + 5, *s3 = s2 + 5, *s4 = s3 + 5;
    SIMD
    for (long k = 0; k < area; k++) {
        const real a = by_first[k], b = by_second[k], c = by_third[k], d = by_fourth[k], e = by_fifth[k];
        by_skew[k] = s0[1] * a + s1[1] * b + s2[1] * c + s3[1] * d + s4[1] * e;
        by_square[k] = s0[2] * a + s1[2] * b + s2[2] * c + s3[2] * d + s4[2] * e;
        by_cube[k] = s0[3] * a + s1[3] * b + s2[3] * c + s3[3] * d + s4[3] * e;
        by_sixth[k] = s0[4] * a + s1[4] * b + s2[4] * c + s3[4] * d + s4[4] * e;
    }
    fold(n, 1, 1, by_sixth);
    add_outer(n, cube, by_sixth, by_cube); /* S^6 is symmetric, S^3 is not */
    fold(n, -1, (real)0.5, by_cube);       /* the part that counts */
    add_product(n, by_cube, square, 0, by_skew, panels);
    add_outer(n, skew, by_cube, by_square);
    fold(n, 1, 1, by_square);
    add_outer(n, skew, by_square, by_skew);
    gather(n, by_skew, (real)ldexp(1, (int)-halvings), by_above);
    free(panels);
    return 0;
}
