/* A scan over time, forward and backward. Each thread takes a slice of the batch over all steps and heads.

   `scan.h` is printed from the plan (`scan_source.py`): the macros N_..., the kinds of all tensors, and the steps for
   one head of one example, forward_step, recompute_step and backward_step. The first axis is taken in parts of a few
   vectors of lanes; a part's states lie side by side in a block, tiles as [K][lanes]. The backward pass starts from the
   states before every C-th step, runs forward from there keeping everything, and then back. */
#include "scan.h"

#include "common.h"
#include "slices.h"

#define HAS_LANES(kind) ((kind)&1)
#define HAS_ROW(kind) ((kind)&2)
#define ROUND(count) (((count) + LANES - 1) / LANES * LANES)

/* Numbers of one head's tensor of a kind */
static long numbers(const Call *c, int kind) { return (HAS_LANES(kind) ? c->V : 1) * (HAS_ROW(kind) ? c->K : 1); }

/* Numbers of a part of it, in the work space */
static long part_numbers(const Call *c, int kind) {
    return ROUND((HAS_LANES(kind) ? WIDEST * LANES : 1) * (HAS_ROW(kind) ? c->K : 1));
}

/* A part of the first axis: `width` vectors of lanes from v0 on, of which the last has `rest` lanes */
typedef struct {
    long v0, count, rest;
    int width;
} Part;

static long count_parts(const Call *c) {
    const long whole = WIDEST * LANES, left = (c->V % whole + LANES - 1) / LANES;
    return c->V / whole + (left == 3) + (left > 0); /* three vectors are two and one */
}

static Part part_of(const Call *c, long number) {
    const long whole = WIDEST * LANES, full = c->V / whole;
    Part part = {.v0 = (number < full ? number : full) * whole, .width = WIDEST};
    if (number >= full) {
        const long left = (c->V - part.v0 + LANES - 1) / LANES;
        part.width = left == 1 ? 1 : left == 4 ? 4 : 2;
        if (number > full) part.v0 += 2 * LANES, part.width = 1;
    }
    const long end = part.v0 + part.width * LANES;
    part.count = (end < c->V ? end : c->V) - part.v0;
    part.rest = part.count - (part.width - 1) * LANES;
    return part;
}

/* What lies between a caller's tensor of one head and a part of it in the work space */
static void gather(const Call *c, int kind, const Part *part, real *to, const real *from) {
    const long lanes = part->width * LANES;
    if (!HAS_LANES(kind)) {
        memcpy(to, from, BYTES(HAS_ROW(kind) ? c->K : 1));
    } else if (!HAS_ROW(kind)) {
        memset(to, 0, BYTES(lanes));
        memcpy(to, from + part->v0, BYTES(part->count));
    } else {
        for (long k = 0; k < c->K; k++)
            for (long v = 0; v < lanes; v++) to[k * lanes + v] = v < part->count ? from[(part->v0 + v) * c->K + k] : 0;
    }
}

/* The way back. What has no lanes comes from every part: the first sets it, the others add to it where they `add`. */
static void scatter(const Call *c, int kind, const Part *part, real *to, const real *from, int add) {
    const long lanes = part->width * LANES;
    if (!HAS_LANES(kind)) {
        for (long k = 0; k < (HAS_ROW(kind) ? c->K : 1); k++) to[k] = add ? to[k] + from[k] : from[k];
    } else if (!HAS_ROW(kind)) {
        for (long v = 0; v < part->count; v++) to[part->v0 + v] = add ? to[part->v0 + v] + from[v] : from[v];
    } else {
        for (long v = 0; v < part->count; v++)
            for (long k = 0; k < c->K; k++) {
                real *place = to + (part->v0 + v) * c->K + k;
                *place = add ? *place + from[k * lanes + v] : from[k * lanes + v];
            }
    }
}

/* Where the states lie in a block */
static long block_of(const Call *c, long offset[N_S + 1]) {
    offset[0] = 0;
    for (int s = 0; s < N_S; s++) offset[s + 1] = offset[s] + part_numbers(c, s_kind[s]);
    return offset[N_S];
}

/* Numbers of what is kept of one example and head at one step */
static long kept_size(const Call *c) {
    long offset[N_S + 1];
    return count_parts(c) * block_of(c, offset);
}

long longlag_kept_size(const Call *c) { return kept_size(c); }

/* The block of an example's head before step number * C */
static real *kept_at(const Call *c, long number, long b, long h) {
    return c->kept + ((number * c->B + b) * c->n + h) * kept_size(c);
}

/* A tensor's numbers at one step, of one example and head; from the first lane of a part on where they are lanes */
static long place_of(const Call *c, int kind, long t, long b, long h, const Part *part) {
    return ((t * c->B + b) * c->n + h) * numbers(c, kind) + (kind == 1 ? part->v0 : 0);
}

static void begin(const Call *c, Step *st, const Part *part) {
    st->K = c->K, st->count = (real)c->K, st->rest = part->rest, st->lanes = part->width * LANES;
    st->keep = first_lanes(part->rest);
}

/* The inputs of a step; `tiles` are for those that are tiles */
static void read_inputs(const Call *c, Step *st, const Part *part, long t, long b, long h, real *tiles) {
    for (int i = 0; i < N_X; i++) {
        st->x[i] = c->x[i] + place_of(c, x_kind[i], t, b, h, part);
        if (x_kind[i] == 3) {
            real *tile = tiles + i * part_numbers(c, 3);
            gather(c, 3, part, tile, st->x[i]);
            st->x[i] = tile;
        }
    }
}

static void read_parameters(const Call *c, real *to, long stride, long h, long parts) {
    for (long a = 0; a < parts; a++) {
        const Part part = part_of(c, a);
        for (int i = 0; i < N_P; i++)
            gather(c, p_kind[i], &part, to + (a * N_P + i) * stride, c->p[i] + h * numbers(c, p_kind[i]));
    }
}

/* Numbers of the largest part of any tensor */
static long largest(const Call *c) { return part_numbers(c, 3); }

static int forward_slice(const Call *c, long slice, long b0, long nb) {
    const long parts = count_parts(c), stride = largest(c);
    long offset[N_S + 1];
    const long block = block_of(c, offset);
    const long counts[] = {
        parts * N_P * stride,   /* parameters */
        N_X * stride,           /* inputs that are tiles */
        N_Y * stride,           /* outputs that are tiles */
        N_ROWS * c->K,          /* rows */
        N_PARTS * c->K * LANES, /* rows of vectors of lanes */
        N_TILES * stride,       /* tiles */
        parts * block,          /* states that are not kept */
    };
    real *space[7], *memory = allocate(7, counts, space);
    if (!memory) return 1;
    (void)slice;
    Step st = {.rows = space[3], .parts = (vec *)space[4], .tiles = (vec *)space[5]};
    for (long h = 0; h < c->n; h++) {
        read_parameters(c, space[0], stride, h, parts);
        for (long b = b0; b < b0 + nb; b++) {
            real *now = c->kept ? kept_at(c, 0, b, h) : space[6];
            for (long a = 0; a < parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    gather(c, s_kind[s], &part, now + a * block + offset[s],
                           c->initial[s] + (b * c->n + h) * numbers(c, s_kind[s]));
            }
            for (long t0 = 0; t0 < c->T; t0 += c->C) {
                const long t1 = t0 + c->C < c->T ? t0 + c->C : c->T;
                real *next = c->kept && t1 < c->T ? kept_at(c, t1 / c->C, b, h) : space[6];
                if (next != now) memcpy(next, now, BYTES(parts * block));
                now = next;
                for (long a = 0; a < parts; a++) {
                    const Part part = part_of(c, a);
                    begin(c, &st, &part);
                    for (int i = 0; i < N_P; i++) st.p[i] = space[0] + (a * N_P + i) * stride;
                    for (int s = 0; s < N_S; s++) st.s[s] = st.new[s] = now + a *block + offset[s];
                    for (long t = t0; t < t1; t++) {
                        const int exists = !c->mask || c->mask[t * c->B + b];
                        for (int i = 0; i < N_Y; i++) {
                            st.y[i] = c->y[i] + place_of(c, y_kind[i], t, b, h, &part);
                            if (!exists && y_kind[i] == 1) memset(st.y[i], 0, BYTES(part.count));
                            if (y_kind[i] == 3) st.y[i] = space[2] + i * stride;
                            if (!exists && y_kind[i] == 3) memset(st.y[i], 0, BYTES(stride));
                        }
                        if (exists) {
                            read_inputs(c, &st, &part, t, b, h, space[1]);
                            forward_step(part.width, &st);
                        }
                        for (int i = 0; i < N_Y; i++)
                            if (y_kind[i] == 3)
                                scatter(c, 3, &part, c->y[i] + place_of(c, 3, t, b, h, &part), st.y[i], 0);
                    }
                }
            }
            for (long a = 0; a < parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    scatter(c, s_kind[s], &part, c->final[s] + (b * c->n + h) * numbers(c, s_kind[s]),
                            now + a * block + offset[s], 0);
            }
        }
    }
    free(memory);
    return 0;
}

/* Adds to the squared norm of a state's gradient, at one step of an example */
static void add_square(const Call *c, int s, long t, long b, int first, double square) {
    double *place = c->squares[s] + t * c->B + b;
    *place = first ? square : *place + square;
}

static int backward_slice(const Call *c, long slice, long b0, long nb) {
    const long parts = count_parts(c), stride = largest(c),
               saved = (N_SAVED_LANES + N_SAVED_TILES * c->K) * WIDEST * LANES;
    long offset[N_S + 1];
    const long block = block_of(c, offset);
    const long counts[] = {
        parts * N_P * stride,     /* parameters */
        N_X * stride,             /* inputs that are tiles */
        N_X * stride,             /* their gradients */
        N_Y * stride,             /* gradients of outputs that are tiles */
        N_ROWS * c->K,            /* rows */
        N_PARTS * c->K * LANES,   /* rows of vectors of lanes */
        N_TILES * stride,         /* tiles */
        (c->C + 1) * block,       /* states of C steps, and before them */
        c->C * saved,             /* what else is kept of them */
        parts * block,            /* gradients by the states */
        parts * N_P * stride,     /* and by the parameters */
        N_S * stride,             /* totals: of one step: the gradients by its new states, every path counted */
        c->C * N_S * ROUND(c->K), /* of C steps, by those without lanes, over all parts */
        (c->V > c->K ? c->V : c->K) * ROUND(1), /* zeros: a row or lanes */
        stride,                                 /* zeros: a tile */
    };
    real *space[15], *memory = allocate(15, counts, space);
    if (!memory) return 1;
    real *by_states = space[9], *by_parameters = space[10], *totals = space[11], *rows = space[12];
    memset(space[13], 0, BYTES(counts[13]));
    memset(space[14], 0, BYTES(counts[14]));
    Step st = {.rows = space[4], .parts = (vec *)space[5], .tiles = (vec *)space[6]};
    for (long h = 0; h < c->n; h++) {
        read_parameters(c, space[0], stride, h, parts);
        memset(by_parameters, 0, BYTES(parts * N_P * stride));
        for (long b = b0; b < b0 + nb; b++) {
            for (long a = 0; a < parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++) {
                    real *to = by_states + a * block + offset[s];
                    const real *from = c->grad_final[s];
                    if (!from || (a && !HAS_LANES(s_kind[s]))) memset(to, 0, BYTES(part_numbers(c, s_kind[s])));
                    else gather(c, s_kind[s], &part, to, from + (b * c->n + h) * numbers(c, s_kind[s]));
                }
            }
            for (long t0 = (c->T - 1) / c->C * c->C; t0 >= 0; t0 -= c->C) {
                const long t1 = t0 + c->C < c->T ? t0 + c->C : c->T;
                for (long a = 0; a < parts; a++) {
                    const Part part = part_of(c, a);
                    begin(c, &st, &part);
                    st.fresh = a == 0;
                    for (int i = 0; i < N_P; i++) {
                        st.p[i] = space[0] + (a * N_P + i) * stride;
                        st.dp[i] = c->grad_p[i] ? by_parameters + (a * N_P + i) * stride : NULL;
                    }
                    real *past = space[7], *kept = space[8];
                    memcpy(past, kept_at(c, t0 / c->C, b, h) + a * block, BYTES(block));
                    for (long t = t0; t < t1; t++, past += block, kept += saved) {
                        if (c->mask && !c->mask[t * c->B + b]) {
                            memcpy(past + block, past, BYTES(block));
                            continue;
                        }
                        read_inputs(c, &st, &part, t, b, h, space[1]);
                        st.saved = kept;
                        for (int s = 0; s < N_S; s++) st.s[s] = past + offset[s], st.new[s] = past + block + offset[s];
                        recompute_step(part.width, &st);
                    }
                    for (int s = 0; s < N_S; s++) st.l[s] = by_states + a * block + offset[s];
                    for (long t = t1 - 1; t >= t0; t--) {
                        past -= block, kept -= saved;
                        for (int i = 0; i < N_X; i++) {
                            st.dx[i] = c->grad_x[i] ? c->grad_x[i] + place_of(c, x_kind[i], t, b, h, &part) : NULL;
                            if (x_kind[i] == 3 && st.dx[i]) st.dx[i] = space[2] + i * stride;
                        }
                        for (int s = 0; s < N_S; s++) {
                            real *row = rows + ((t - t0) * N_S + s) * ROUND(c->K);
                            st.total[s] = !c->squares[s] ? NULL : HAS_LANES(s_kind[s]) ? totals + s * stride : row;
                        }
                        if (c->mask && !c->mask[t * c->B + b]) {
                            for (int i = 0; i < N_X; i++)
                                if (st.dx[i] && (HAS_LANES(x_kind[i]) || a == 0))
                                    memset(st.dx[i], 0,
                                           BYTES(x_kind[i] == 1   ? part.count
                                                 : x_kind[i] == 3 ? stride
                                                 : x_kind[i] == 2 ? c->K
                                                                  : 1));
                            for (int s = 0; s < N_S; s++) {
                                if (!st.total[s]) continue;
                                const long count = HAS_LANES(s_kind[s]) ? st.lanes * (HAS_ROW(s_kind[s]) ? c->K : 1)
                                                   : HAS_ROW(s_kind[s]) ? c->K
                                                                        : 1;
                                for (long j = 0; j < count; j++) {
                                    const int there = !HAS_LANES(s_kind[s]) || j % st.lanes < part.count;
                                    const real value = there ? st.l[s][j] : 0;
                                    st.total[s][j] = HAS_LANES(s_kind[s]) || a == 0 ? value : st.total[s][j] + value;
                                }
                            }
                        } else {
                            read_inputs(c, &st, &part, t, b, h, space[1]);
                            st.saved = kept;
                            for (int s = 0; s < N_S; s++)
                                st.s[s] = past + offset[s], st.n[s] = past + block + offset[s];
                            for (int i = 0; i < N_Y; i++) {
                                const real *from = c->grad_y[i];
                                if (!from) st.dy[i] = y_kind[i] == 3 ? space[14] : space[13];
                                else if (y_kind[i] == 1) st.dy[i] = from + place_of(c, 1, t, b, h, &part);
                                else {
                                    gather(c, 3, &part, space[3] + i * stride, from + place_of(c, 3, t, b, h, &part));
                                    st.dy[i] = space[3] + i * stride;
                                }
                            }
                            backward_step(part.width, &st);
                        }
                        for (int i = 0; i < N_X; i++)
                            if (x_kind[i] == 3 && st.dx[i])
                                scatter(c, 3, &part, c->grad_x[i] + place_of(c, 3, t, b, h, &part), st.dx[i], 0);
                        for (int s = 0; s < N_S; s++)
                            if (c->squares[s] && HAS_LANES(s_kind[s]))
                                add_square(
                                    c, s, t, b, h == 0 && a == 0,
                                    sum_of_squares(totals + s * stride, st.lanes * (HAS_ROW(s_kind[s]) ? c->K : 1)));
                    }
                }
                for (int s = 0; s < N_S; s++)
                    for (long t = t0; c->squares[s] && !HAS_LANES(s_kind[s]) && t < t1; t++)
                        add_square(
                            c, s, t, b, h == 0,
                            sum_of_squares(rows + ((t - t0) * N_S + s) * ROUND(c->K), HAS_ROW(s_kind[s]) ? c->K : 1));
            }
            for (long a = 0; a < parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    scatter(c, s_kind[s], &part, c->grad_initial[s] + (b * c->n + h) * numbers(c, s_kind[s]),
                            by_states + a * block + offset[s], a > 0 && !HAS_LANES(s_kind[s]));
            }
        }
        for (long a = 0; a < parts; a++) {
            const Part part = part_of(c, a);
            for (int i = 0; i < N_P; i++)
                if (c->grad_p[i])
                    scatter(c, p_kind[i], &part, c->grad_p[i] + slice * c->grad_stride + h * numbers(c, p_kind[i]),
                            by_parameters + (a * N_P + i) * stride, 1);
        }
    }
    free(memory);
    return 0;
}

int longlag_forward(const Call *c) { return in_slices(c, forward_slice); }

int longlag_backward(const Call *c) { return in_slices(c, backward_slice); }

long longlag_call_size(void) { return (long)sizeof(Call); }
