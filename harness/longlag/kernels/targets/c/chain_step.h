/* What the steps of a chain are made of: products and functions of a block of rows, and their derivatives. */
#ifndef LONGLAG_CHAIN_STEP_H
#define LONGLAG_CHAIN_STEP_H
#include "chain_call.h"
#include "common.h"
#include "elementary.h"

/* What a function reads and writes of one row; MOST_X, MOST_P and MOST_Y are the most of any function */
typedef struct {
    long K;
    real count; /* K as a number */
    const real *x[MOST_X], *p[MOST_P], *dy[MOST_Y];
    real *y[MOST_Y], *dx[MOST_X], *dp[MOST_P];
    real *rows; /* buffers */
} Step;

/* A function as a step applies it: values and parameters by their numbers */
typedef struct {
    void (*forward)(const Step *), (*backward)(const Step *);
    int index, n_x, n_p, n_y; /* index: in Call.length */
    int x[MOST_X], p[MOST_P], y[MOST_Y];
    int adds[MOST_X]; /* whether another step that reads the value has written its gradient before */
} Function;

/* A block of rows on its way */
typedef struct {
    const Call *c;
    long rows;
    real *v[N_V], *d[N_V]; /* its first row of every value, of its gradient; null where nobody reads it */
    long v_row[N_V], d_row[N_V];
    real *packed[N_P]; /* weights */
    real *dp[N_P];     /* gradients of parameters; null where not wanted */
    real *buffers;     /* of a function */
    real *spare;       /* MOST_X + MOST_P rows */
    real *zeros;       /* a row */
    long widest;
} Work;

/* Columns of a packed matrix of n columns */
HELPER long padded(const Call *c, long n) { return (n + c->panel - 1) / c->panel * c->panel; }

/* Value number `part` is columns of `whole`: the k-th of some equal parts */
HELPER void open_part(Work *w, int part, int whole, int k) {
    const long first = k * w->c->width[part];
    w->v[part] = w->v[whole] ? w->v[whole] + first : NULL, w->v_row[part] = w->v_row[whole];
    w->d[part] = w->d[whole] ? w->d[whole] + first : NULL, w->d_row[part] = w->d_row[whole];
}

/* The value, or with `adds` what it was, plus a product; `start`: of every row, zeros or a bias */
HELPER void product(const Work *w, int to, int from, int weight, const real *start, int adds) {
    const Call *c = w->c;
    c->multiply(w->rows, c->width[to], c->width[from], w->v[from], w->v_row[from], w->packed[weight],
                adds ? w->v[to] : start, adds ? w->v_row[to] : 0, w->v[to], w->v_row[to]);
}

HELPER void product_back(const Work *w, int to, int from, int weight, int adds) {
    const Call *c = w->c;
    const long n = c->width[to], k = c->width[from];
    if (w->dp[weight]) c->outer(w->rows, n, k, w->d[to], w->d_row[to], w->v[from], w->v_row[from], w->dp[weight], k);
    if (!w->d[from]) return;
    c->multiply(w->rows, k, n, w->d[to], w->d_row[to], w->packed[weight], adds ? w->d[from] : w->zeros,
                adds ? w->d_row[from] : 0, w->d[from], w->d_row[from]);
}

HELPER void bias_back(const Work *w, int to, int bias) {
    const long width = w->c->width[to];
    real *sum = w->dp[bias];
    for (long r = 0; sum && r < w->rows; r++) {
        const real *d = w->d[to] + r * w->d_row[to];
        SIMD
        for (long k = 0; k < width; k++) sum[k] += d[k];
    }
}

ALWAYS_INLINE void read_row(const Work *w, const Function *f, Step *st, long r, long k) {
    for (int i = 0; i < f->n_x; i++) st->x[i] = w->v[f->x[i]] + r * w->v_row[f->x[i]] + k * st->K;
    for (int i = 0; i < f->n_p; i++) st->p[i] = w->c->p[f->p[i]] + k % w->c->p_rows[f->p[i]] * st->K;
}

ALWAYS_INLINE void apply(const Work *w, const Function *f) {
    const long K = w->c->length[f->index], each = w->c->width[f->x[0]] / K;
    Step st = {.K = K, .count = (real)K, .rows = w->buffers};
    for (long r = 0; r < w->rows; r++)
        for (long k = 0; k < each; k++) {
            read_row(w, f, &st, r, k);
            for (int i = 0; i < f->n_y; i++) st.y[i] = w->v[f->y[i]] + r * w->v_row[f->y[i]] + k * K;
            f->forward(&st);
        }
}

ALWAYS_INLINE void apply_back(const Work *w, const Function *f) {
    const long K = w->c->length[f->index], each = w->c->width[f->x[0]] / K;
    Step st = {.K = K, .count = (real)K, .rows = w->buffers};
    for (long r = 0; r < w->rows; r++)
        for (long k = 0; k < each; k++) {
            read_row(w, f, &st, r, k);
            for (int i = 0; i < f->n_y; i++) st.dy[i] = w->d[f->y[i]] + r * w->d_row[f->y[i]] + k * K;
            for (int i = 0; i < f->n_x; i++) {
                real *to = w->d[f->x[i]], *spare = w->spare + i * w->widest;
                st.dx[i] = to && !f->adds[i] ? to + r * w->d_row[f->x[i]] + k * K : spare;
            }
            for (int i = 0; i < f->n_p; i++)
                st.dp[i] = w->dp[f->p[i]] ? w->dp[f->p[i]] + k % w->c->p_rows[f->p[i]] * K
                                          : w->spare + (MOST_X + i) * w->widest;
            f->backward(&st);
            for (int i = 0; i < f->n_x; i++) {
                if (!f->adds[i] || !w->d[f->x[i]]) continue;
                real *to = w->d[f->x[i]] + r * w->d_row[f->x[i]] + k * K;
                const real *more = w->spare + i * w->widest;
                SIMD
                for (long j = 0; j < K; j++) to[j] += more[j];
            }
        }
}

#endif
