/* Causal attention, forward and backward, a block of queries and keys at a time; `attention.py` calls it.

   Scores lie with the queries along the lanes: a row for each key, so that the softmax never sums inside a vector. They
   are never stored beyond a block. The forward pass keeps a running maximum and sum of every query, and of both the
   logarithm of the sum for the backward pass, which computes the scores again. Queries, keys and values are read where
   one product has put them side by side, [T, B, 3, M, E], and the gradient goes back there. Each thread takes a slice
   of the heads of all examples. */
#include "attention_rows.h"

#include "elementary.h"
#include "slices.h"

#define KEYS (8 * ROWS)     /* of a block */
#define QUERIES (2 * PANEL) /* of a block, backward */

/* S[key, query] of `count` keys, rounded up to whole tiles, and a panel of queries; rows of S are `lds` apart */
static void product(long count, long E, const real *keys, const real *panel, real *S, const long lds) {
    for (long j = 0; j < count; j += ROWS)
        tile(ROWS, 1, ALONE, E, keys + j * E, E, 1, panel, PANEL, NULL, 0, S + j * lds, lds);
}

/* panel[e, query] += sum over `count` keys of keys[key, e] P[key, query] */
static void weighted_sum(long count, long E, const real *keys, const real *P, const long lds, real *panel) {
    const long tiles = (E + ROWS - 1) / ROWS;
    for (long q = 0; q < tiles; q++) { /* of even height */
        const long e = E * q / tiles;
        switch (E * (q + 1) / tiles - e) {
#define HEIGHT(n) \
    case n: tile(n, 1, ONTO, count, keys + e, 1, E, P, lds, panel + e * PANEL, PANEL, panel + e * PANEL, PANEL); break;
            HEIGHT(1)
            HEIGHT(2)
            HEIGHT(3)
            HEIGHT(4)
            HEIGHT(5)
            HEIGHT(6)
#if ROWS > 6
            HEIGHT(7)
            HEIGHT(8)
            HEIGHT(9)
            HEIGHT(10)
            HEIGHT(11)
            HEIGHT(12)
#endif
        }
    }
}

/* sums[key, e] += sum over `count` queries of P[key, query] rows[query, e], of one tile of keys */
static void tile_of_sums(long count, long width, const real *P, const real *rows, real *sums) {
    for (long e = 0; e < width; e += PANEL)
        if (width - e > LANES)
            tile(ROWS, 1, ONTO, count, P, QUERIES, 1, rows + e, width, sums + e, width, sums + e, width);
        else tile(ROWS, 0, ONTO, count, P, QUERIES, 1, rows + e, width, sums + e, width, sums + e, width);
}

/* Scores of keys after their query, from key number `first` on, in a panel that begins at query 0 */
static void hide(long first, long count, real *S, long lds, real hidden) {
    for (long j = first < 0 ? -first : 0; j < count; j++)
        for (long i = 0; i < least(PANEL, first + j); i++) S[j * lds + i] = hidden;
}

/* The largest score of every query so far; the number of rows is a multiple of 6 */
static void raise_top(long rows, const real *S, real *top) {
    for (long j = 0; j < rows; j += 6, S += 6 * PANEL) {
        SIMD
        for (int i = 0; i < PANEL; i++) {
            real most = S[i];
            UNROLL_ALL(5)
            for (int r = 1; r < 6; r++) most = S[r * PANEL + i] > most ? S[r * PANEL + i] : most;
            top[i] = most > top[i] ? most : top[i];
        }
    }
}

/* Scores to exponentials, and their sums */
static void exponentials(long rows, real *S, const real *top, real *sum) {
    for (long j = 0; j < rows; j++, S += PANEL) {
        SIMD
        for (int i = 0; i < PANEL; i++) {
            const real weight = exp_of_small(S[i] - top[i]);
            S[i] = weight;
            sum[i] += weight;
        }
    }
}

/* Work space for the keys of one head and a panel of its queries; top, sum and change: a number for each query */
typedef struct {
    real *keys, *values, *rows, *panel, *S, *sums, *top, *sum, *change;
} Forward;

/* A panel of queries, from number q on, over the keys up to them */
static void attend(const Call *c, const Forward *f, long q, long count) {
    const long E = c->E;
    for (int i = 0; i < PANEL; i++) f->top[i] = -(real)INFINITY, f->sum[i] = 0;
    memset(f->sums, 0, BYTES(E * PANEL));
    for (long k = 0; k < q + count; k += KEYS) {
        const long seen = least(KEYS, q + count - k), whole = rounded(seen, ROWS);
        product(whole, E, f->keys + k * E, f->panel, f->S, PANEL);
        hide(k - q, whole, f->S, PANEL, -(real)INFINITY);
        copy_row(PANEL, f->top, f->change);
        raise_top(whole, f->S, f->top);
        if (k > 0) {
            SIMD
            for (int i = 0; i < PANEL; i++) {
                f->change[i] = exp_of_small(f->change[i] - f->top[i]);
                f->sum[i] *= f->change[i];
            }
            for (long e = 0; e < E; e++) {
                SIMD
                for (int i = 0; i < PANEL; i++) f->sums[e * PANEL + i] *= f->change[i];
            }
        }
        exponentials(seen, f->S, f->top, f->sum);
        weighted_sum(seen, E, f->values + k * E, f->S, PANEL, f->sums);
    }
}

static int forward_slice(const Call *c, long slice, long first, long heads) {
    const long T = c->T, E = c->E, padded = rounded(T, ROWS);
    const long counts[] = {padded * E, padded * E, PANEL * E, PANEL * E, KEYS * PANEL, PANEL * E, PANEL, PANEL, PANEL};
    real *space[9], *memory = allocate(9, counts, space);
    if (!memory) return 1;
    (void)slice;
    const Forward f = {space[0], space[1], space[2], space[3], space[4], space[5], space[6], space[7], space[8]};
    for (long head = first; head < first + heads; head++) {
        const Place at = place_of(c, head);
        take_keys(c, &at, f.keys, f.values);
        for (long q = 0; q < T; q += PANEL) {
            const long count = least(PANEL, T - q);
            real *output = c->output + at.output + q * at.output_step, *level = c->level + head * T + q;
            const real *query = c->packed + at.query + q * at.step;
            memset(f.rows + count * E, 0, BYTES((PANEL - count) * E));
            for (long i = 0; i < count; i++, query += at.step) {
                PREFETCH(query + PANEL * at.step, E);
                PREFETCH(output + i * at.output_step, E);
                turn(c, q + i, c->scale, query, f.rows + i * E);
            }
            across(E, PANEL, f.rows, E, f.panel);
            attend(c, &f, q, count);
            SIMD
            for (int i = 0; i < PANEL; i++) f.change[i] = 1 / f.sum[i], f.top[i] += ll_log(f.sum[i]);
            copy_row(count, f.top, level);
            for (long i = 0; i < count; i++, output += at.output_step) {
                const real scale = f.change[i];
                SIMD
                for (long e = 0; e < E; e++) output[e] = f.sums[e * PANEL + i] * scale;
            }
        }
    }
    free(memory);
    return 0;
}

/* Scores to weights P, and D, the gradients by the weights, to those by the scores */
static void weights(long rows, const real *level, const real *inner, real *P, real *D) {
    for (long j = 0; j < rows; j++, P += QUERIES, D += QUERIES) {
        SIMD
        for (int i = 0; i < PANEL; i++) {
            const real weight = exp_of_small(P[i] - level[i]);
            P[i] = weight;
            D[i] = weight * (D[i] - inner[i]);
        }
    }
}

/* What the backward pass works with: a block of queries */
typedef struct {
    real *rows, *grad_rows;     /* [QUERIES, width]: queries, and gradients by the output */
    real *panels, *grad_panels; /* the same across */
    real *level, *inner;        /* [QUERIES]; inner: products of output and gradient */
    real *by_query;             /* [E, PANEL] for each panel: the gradients by queries */
    real *P, *D;                /* [KEYS, QUERIES]: weights, and gradients by scores */
    long width;                 /* E, rounded up to whole vectors */
} Block;

static void take_queries(const Call *c, const Place *at, long head, long q, long count, const Block *b) {
    const long width = b->width, E = c->E;
    memset(b->rows, 0, BYTES(QUERIES * width));
    memset(b->grad_rows, 0, BYTES(QUERIES * width));
    memset(b->level, 0, BYTES(QUERIES));
    memset(b->inner, 0, BYTES(QUERIES));
    memset(b->by_query, 0, BYTES(QUERIES * E));
    copy_row(count, c->level + head * c->T + q, b->level);
    for (long i = 0; i < count; i++) {
        const long row = at->query + (q + i) * at->step, out = at->output + (q + i) * at->output_step;
        const real *output = c->output + out, *grad = c->grad_output + out;
        PREFETCH(c->packed + row + QUERIES * at->step, E);
        PREFETCH(c->grad_packed + row, E); /* written at the end of the block */
        PREFETCH(output + QUERIES * at->output_step, E);
        PREFETCH(grad + QUERIES * at->output_step, E);
        turn(c, q + i, c->scale, c->packed + row, b->rows + i * width);
        copy_row(E, grad, b->grad_rows + i * width);
        real sum = 0;
        SIMD_SUM(sum)
        for (long e = 0; e < E; e++) sum += output[e] * grad[e];
        b->inner[i] = sum;
    }
    across(E, QUERIES, b->rows, width, b->panels);
    across(E, QUERIES, b->grad_rows, width, b->grad_panels);
}

/* The weights P of a panel of queries, from number q on, for the keys from number k on, and the gradients D by their
   scores; zeros for keys up to `whole` that no query sees. Adds to the gradients by the queries. */
static void weigh(const Call *c, const Block *b, long k, long q, long whole, const real *keys, const real *values,
                  long panel) {
    const long E = c->E, seen = least(whole, q + PANEL - k),
               own = least(seen, c->T - k) < 0 ? 0 : least(seen, c->T - k);
    real *P = b->P + panel, *D = b->D + panel;
    product(own, E, keys, b->panels + panel * E, P, QUERIES);
    product(own, E, values, b->grad_panels + panel * E, D, QUERIES);
    weights(own, b->level + panel, b->inner + panel, P, D);
    hide(k - q, own, P, QUERIES, 0);
    hide(k - q, own, D, QUERIES, 0);
    for (long j = own; j < whole; j++) {
        memset(P + j * QUERIES, 0, BYTES(PANEL));
        memset(D + j * QUERIES, 0, BYTES(PANEL));
    }
    weighted_sum(own, E, keys, D, QUERIES, b->by_query + panel * E);
}

static int backward_slice(const Call *c, long slice, long first, long heads) {
    const long T = c->T, E = c->E, padded = rounded(T, ROWS), width = rounded(E, LANES);
    const long counts[] = {
        QUERIES * width, QUERIES * width, QUERIES * E, QUERIES * E, QUERIES,        QUERIES,        QUERIES * E,
        KEYS * QUERIES,  KEYS * QUERIES,  padded * E,  padded * E,  padded * width, padded * width, E};
    real *space[14], *memory = allocate(14, counts, space);
    if (!memory) return 1;
    (void)slice;
    const Block b = {space[0], space[1], space[2], space[3], space[4], space[5], space[6], space[7], space[8], width};
    real *keys = space[9], *values = space[10], *by_key = space[11], *by_value = space[12], *row = space[13];
    for (long head = first; head < first + heads; head++) {
        const Place at = place_of(c, head);
        take_keys(c, &at, keys, values);
        memset(by_key, 0, BYTES(padded * width));
        memset(by_value, 0, BYTES(padded * width));
        for (long q = 0; q < T; q += QUERIES) {
            const long count = least(QUERIES, T - q);
            take_queries(c, &at, head, q, count, &b);
            for (long k = 0; k < q + count; k += KEYS) {
                const long whole = rounded(least(KEYS, q + count - k), ROWS);
                for (long p = 0; p < count; p += PANEL) weigh(c, &b, k, q + p, whole, keys + k * E, values + k * E, p);
                for (long j = 0; j < whole; j += ROWS) { /* queries before key j see nothing of it */
                    const long from = k + j > q ? k + j - q : 0, to = (k + j) * width, at_P = j * QUERIES + from;
                    tile_of_sums(count - from, width, b.P + at_P, b.grad_rows + from * width, by_value + to);
                    tile_of_sums(count - from, width, b.D + at_P, b.rows + from * width, by_key + to);
                }
            }
            real *query = c->grad_packed + at.query + q * at.step;
            for (long i = 0; i < count; i++, query += at.step) {
                const real *from = b.by_query + i / PANEL * PANEL * E + i % PANEL;
                SIMD
                for (long e = 0; e < E; e++) row[e] = from[e * PANEL];
                turn_back(c, q + i, c->scale, row, query);
            }
        }
        give_keys(c, &at, by_key, by_value, width);
    }
    free(memory);
    return 0;
}

/* Steps, examples, heads, their size. Forward where `grad_packed` is null, else backward. Returns 1 without memory. */
int longlag_attend(long T, long B, long M, long E, long threads, double scale, const real *packed, const real *turns,
                   real *output, real *level, const real *grad_output, real *grad_packed) {
    const Call c = {.T = T,
                    .B = B * M,
                    .M = M,
                    .E = E,
                    .threads = threads,
                    .scale = (real)scale,
                    .packed = packed,
                    .turns = turns,
                    .output = output,
                    .level = level,
                    .grad_output = grad_output,
                    .grad_packed = grad_packed};
    return in_slices(&c, grad_packed ? backward_slice : forward_slice);
}
