/* What the time loop is made of, the same for every gated cell: products, inputs and biases, copies. */
#ifndef LONGLAG_SUPPORT_H
#define LONGLAG_SUPPORT_H
#include "call.h"
#include "common.h"
#include "stream.h"

#define SMALL_INPUT 8  /* inputs up to here are added by vector code, more by a matrix product */
#define BLOCK_ROWS 128 /* rows whose weight gradients are summed together */

/* Columns of a packed matrix of n columns */
static long padded(const Call *c, long n) { return (n + c->panel - 1) / c->panel * c->panel; }

/* C[rows, n] += A[rows, k] W[n, k]'; BLAS is column-major, so every matrix is handed over transposed */
static void product(const Call *c, long rows, long n, long k, const real *A, long lda, const real *W, long ldw, real *C,
                    long ldc) {
    const int N = (int)n, M = (int)rows, K = (int)k, LW = (int)ldw, LA = (int)lda, LC = (int)ldc;
    const real one = 1;
    c->gemm("T", "N", &N, &M, &K, &one, W, &LW, A, &LA, &one, C, &LC);
}

/* C[rows, k] += A[rows, n] W[n, k] */
static void product_transposed(const Call *c, long rows, long n, long k, const real *A, long lda, const real *W,
                               long ldw, real *C, long ldc) {
    const int N = (int)n, M = (int)rows, K = (int)k, LW = (int)ldw, LA = (int)lda, LC = (int)ldc;
    const real one = 1;
    c->gemm("N", "N", &K, &M, &N, &one, W, &LW, A, &LA, &one, C, &LC);
}

/* to[k] = from[k] + sum_i x[i] w[i * W + k], i < n; n is a constant where this is called */
ALWAYS_INLINE void project(const long n, real *to, const real *from, const real *x, const real *w, long W, long count) {
    SIMD
    for (long k = 0; k < count; k++) {
        real sum = from[k];
        UNROLL_ALL(4)
        for (long i = 0; i < n; i++) sum += x[i] * w[i * W + k];
        to[k] = sum;
    }
}

/* The pre-activations of one example from its few inputs: row 0 holds the biases, row 1 + i the weights of input i */
static void project_row(long I, real *to, const real *row, const real *x, long W, long count) {
    const real *from = row;
    for (row += W; I > 3; I -= 4, x += 4, row += 4 * W, from = to) project(4, to, from, x, row, W, count);
    if (I == 1) project(1, to, from, x, row, W, count);
    else if (I == 2) project(2, to, from, x, row, W, count);
    else if (I == 3) project(3, to, from, x, row, W, count);
}

/* sum[k] += sum_r d[r * W + k] and sum[(1 + i) * W + k] += sum_r x[r * I + i] d[r * W + k], i < n */
ALWAYS_INLINE void sum_rows(const long rows, const long n, real *sum, const real *d, const real *x, long I, long W,
                            long count) {
    SIMD
    for (long k = 0; k < count; k++) {
        real v[4];
        UNROLL_ALL(4)
        for (long r = 0; r < rows; r++) v[r] = d[r * W + k];
        sum[k] += rows == 4 ? (v[0] + v[1]) + (v[2] + v[3]) : v[0];
        UNROLL_ALL(2)
        for (long i = 0; i < n; i++) {
            real part = 0;
            UNROLL_ALL(4)
            for (long r = 0; r < rows; r++) part += x[r * I + i] * v[r];
            sum[(1 + i) * W + k] += part;
        }
    }
}

/* The gradients of biases and of the weights of few inputs */
ALWAYS_INLINE void sum_block(const long n, long rows, real *sum, const real *d, const real *x, long I, long W,
                             long count) {
    long r = 0;
    for (; r + 4 <= rows; r += 4) sum_rows(4, n, sum, d + r * W, x + r * I, I, W, count);
    for (; r < rows; r++) sum_rows(1, n, sum, d + r * W, x + r * I, I, W, count);
}

static void sum_columns(long inputs, long rows, real *sum, const real *d, const real *x, long I, long W, long count) {
    if (inputs == 0) sum_block(0, rows, sum, d, d, 0, W, count);
    else if (inputs == 1) sum_block(1, rows, sum, d, x, I, W, count);
    else if (inputs == 2) sum_block(2, rows, sum, d, x, I, W, count);
    else {
        sum_block(0, rows, sum, d, d, 0, W, count);
        for (long i = 0; i < inputs; i++)
            for (long r = 0; r < rows; r++) {
                const real value = x[r * I + i], *from = d + r * W;
                real *to = sum + (1 + i) * W;
                SIMD
                for (long k = 0; k < count; k++) to[k] += value * from[k];
            }
    }
}

static void copy_rows(long rows, long width, real *to, long to_stride, const real *from, long from_stride) {
    if (to_stride == width && from_stride == width) width *= rows, rows = 1;
    for (long r = 0; r < rows; r++) memcpy(to + r * to_stride, from + r * from_stride, BYTES(width));
}

/* The rows [steps, nb] of an array [steps, B] of rows `stride` numbers apart, copied to `packed` unless nb is B */
static const real *rows_of(const real *from, long steps, long B, long b0, long nb, long width, long stride,
                           real *packed) {
    if (nb == B) return from;
    for (long t = 0; t < steps; t++)
        copy_rows(nb, width, packed + t * nb * width, width, from + (t * B + b0) * stride, stride);
    return packed;
}

#endif
