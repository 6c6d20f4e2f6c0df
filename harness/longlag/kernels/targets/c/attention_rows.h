/* What attention reads and writes: where the rows of a head lie, and how they are rotated and laid out on the way. */
#ifndef LONGLAG_ATTENTION_ROWS_H
#define LONGLAG_ATTENTION_ROWS_H
#include "tile.h"

#include "common.h"

#define AHEAD 16 /* rows that are fetched so many steps before they are used: each lies on another page */

typedef int (*limit_function)(int);
typedef void (*free_function)(void);

typedef struct {
    long T, B, M, E, threads; /* B: heads of all examples */
    limit_function limit_threads;
    free_function free_buffers; /* both null: nothing here uses other threads */
    real scale;
    const real *packed; /* [T, B / M, 3, M, E] */
    const real *turns;  /* [2, T, E / 2]: cosines and sines by which queries and keys are rotated; or null */
    real *output;       /* [T, B / M, M, E] */
    real *level;        /* [B, T]: the logarithm of the sum of the exponentials of a query's scores */
    const real *grad_output;
    real *grad_packed;
} Call;

/* The first row of a head's queries, keys and values in `packed`, and of its outputs; and how far its rows are apart */
typedef struct {
    long query, key, value, step;
    long output, output_step;
} Place;

static Place place_of(const Call *c, long head) {
    const long width = c->M * c->E, example = head / c->M, first = head % c->M * c->E;
    const long query = example * 3 * width + first, examples = c->B / c->M;
    return (Place){.query = query,
                   .key = query + width,
                   .value = query + 2 * width,
                   .step = examples * 3 * width,
                   .output = example * width + first,
                   .output_step = examples * width};
}

static long rounded(long n, long unit) { return (n + unit - 1) / unit * unit; }

static long least(long a, long b) { return a < b ? a : b; }

static void scale_row(long size, real factor, const real *from, real *to) {
    SIMD
    for (long e = 0; e < size; e++) to[e] = factor * from[e];
}

/* A query or key of step t, times a factor, rotated. The first numbers of all pairs come before the second ones: no
   product of a query and a key sees the order. */
static void turn(const Call *c, long t, real factor, const real *from, real *to) {
    const long half = c->E / 2;
    if (!c->turns) {
        scale_row(c->E, factor, from, to);
        return;
    }
    const real *cosine = c->turns + t * half, *sine = cosine + c->T * half;
    SIMD
    for (long i = 0; i < half; i++) {
        const real a = factor * from[2 * i], b = factor * from[2 * i + 1];
        to[i] = a * cosine[i] - b * sine[i];
        to[half + i] = a * sine[i] + b * cosine[i];
    }
}

/* The adjoint of `turn` */
static void turn_back(const Call *c, long t, real factor, const real *from, real *to) {
    const long half = c->E / 2;
    if (!c->turns) {
        scale_row(c->E, factor, from, to);
        return;
    }
    const real *cosine = c->turns + t * half, *sine = cosine + c->T * half;
    SIMD
    for (long i = 0; i < half; i++) {
        const real a = factor * from[i], b = factor * from[half + i];
        to[2 * i] = a * cosine[i] + b * sine[i];
        to[2 * i + 1] = b * cosine[i] - a * sine[i];
    }
}

HELPER void copy_row(long E, const real *from, real *to) {
    SIMD
    for (long e = 0; e < E; e++) to[e] = from[e];
}

/* Keys and values of a head row by row, zeros behind them */
static void take_keys(const Call *c, const Place *at, real *keys, real *values) {
    const long E = c->E, padded = rounded(c->T, ROWS);
    const real *key = c->packed + at->key, *value = c->packed + at->value;
    for (long t = 0; t < c->T; t++, key += at->step, value += at->step) {
        PREFETCH(key + AHEAD * at->step, E);
        PREFETCH(value + AHEAD * at->step, E);
        turn(c, t, 1, key, keys + t * E);
        copy_row(E, value, values + t * E);
    }
    memset(keys + c->T * E, 0, BYTES((padded - c->T) * E));
    memset(values + c->T * E, 0, BYTES((padded - c->T) * E));
}

/* The gradients by keys and values, whose rows are `width` apart, to where they belong */
static void give_keys(const Call *c, const Place *at, const real *by_key, const real *by_value, long width) {
    real *key = c->grad_packed + at->key, *value = c->grad_packed + at->value;
    for (long t = 0; t < c->T; t++, key += at->step, value += at->step, by_key += width, by_value += width) {
        PREFETCH(key + AHEAD * at->step, c->E);
        PREFETCH(value + AHEAD * at->step, c->E);
        turn_back(c, t, 1, by_key, key);
        copy_row(c->E, by_value, value);
    }
}

/* Rows of E numbers, `stride` apart, as the columns of panels [E, PANEL] */
static void across(long E, long count, const real *rows, long stride, real *panels) {
    for (long p = 0; p < count; p += PANEL, panels += E * PANEL, rows += PANEL * stride)
        for (long e = 0; e < E; e++) {
            SIMD
            for (long i = 0; i < PANEL; i++) panels[e * PANEL + i] = rows[i * stride + e];
        }
}

#endif
