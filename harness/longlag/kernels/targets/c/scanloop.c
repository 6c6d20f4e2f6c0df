/* A scan over time, forward and backward. Each thread takes a slice of the batch over all steps and heads.

   `scan.h` is printed from the plan (`scan_source.py`): the macros N_..., the kinds of all tensors, and the steps for
   one head of one example, forward_step, recompute_step and backward_step. The first axis is taken in parts of a few
   vectors of lanes; a part's states lie side by side in a block, tiles as [K][lanes]. The backward pass starts from the
   states before every C-th step, runs forward from there keeping everything, and then back. */
#include "scan.h"

#include "common.h"
#include "slices.h"
#include "stream.h"

#define IS_MATRIX(kind) ((kind) == 4)
#define HAS_LANES(kind) ((kind)&1)
#define HAS_ROW(kind) ((kind)&2)
#define ROUND(count) (((count) + LANES - 1) / LANES * LANES)

/* Numbers of one head's tensor of a kind */
static long numbers(const Call *c, int kind) {
    if (IS_MATRIX(kind)) return c->K * c->K;
    return (HAS_LANES(kind) ? c->V : 1) * (HAS_ROW(kind) ? c->K : 1);
}

/* Vectors of lanes in a part. A parameter that is a tile is read, and its gradient added to, at every step: then as
   many as leave all tiles that a step back touches in a first cache of 32 kB. */
static int widest(const Call *c) {
    long tiles = 0;
    for (int i = 0; i < N_P; i++) tiles += 2 * (p_kind[i] == 3);
    if (!tiles) return WIDEST;
    tiles += N_SAVED_TILES + N_TILES;
    for (int i = 0; i < N_X; i++) tiles += 2 * (x_kind[i] == 3);
    for (int s = 0; s < N_S; s++) tiles += 3 * (s_kind[s] == 3);
    int width = WIDEST;
    while (width > 1 && tiles * c->K * width * VECTOR_BYTES > 1 << 15) width /= 2;
    return width;
}

/* Numbers of a part of it, in the work space. The gradient by a matrix is summed in lanes. */
static long part_numbers(const Call *c, int kind) {
    if (IS_MATRIX(kind)) return c->K * c->K * LANES;
    return ROUND((HAS_LANES(kind) ? widest(c) * LANES : 1) * (HAS_ROW(kind) ? c->K : 1));
}

/* Those of the largest tensor */
static long most_numbers(const Call *c) {
    long most = part_numbers(c, 3);
    for (int i = 0; i < N_P; i++)
        if (part_numbers(c, p_kind[i]) > most) most = part_numbers(c, p_kind[i]);
    return most;
}

/* A part of the first axis: `width` vectors of lanes from v0 on, of which the last has `rest` lanes */
typedef struct {
    long v0, count, rest;
    int width;
} Part;

static long count_parts(const Call *c) {
    const long whole = widest(c) * LANES;
    return (c->V + whole - 1) / whole;
}

static Part part_of(const Call *c, long number) {
    const int most = widest(c);
    Part part = {.v0 = number * most * LANES};
    const long left = (c->V - part.v0 + LANES - 1) / LANES;
    part.width = left < most ? (int)left : most;
    const long end = part.v0 + part.width * LANES;
    part.count = (end < c->V ? end : c->V) - part.v0;
    part.rest = part.count - (part.width - 1) * LANES;
    return part;
}

/* What lies between a caller's tensor of one head and a part of it in the work space */
static void gather(const Call *c, int kind, const Part *part, real *to, const real *from) {
    const long lanes = part->width * LANES;
    if (!HAS_LANES(kind)) {
        memcpy(to, from, BYTES(numbers(c, kind)));
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
    if (IS_MATRIX(kind)) {
        for (long k = 0; k < c->K * c->K; k++) to[k] = (add ? to[k] : 0) + sum_of_lanes(LANES_AT(from, k));
    } else if (!HAS_LANES(kind)) {
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

/* The work space of a slice, and where a part of one example's head lies in the callers' tensors at step 0 */
typedef struct {
    const Call *c;
    long parts, stride, block, saved; /* parts; numbers of the largest tile; of a block of states; of what is saved */
    long offset[N_S + 1];
    real *parameters;    /* of one head, for every part */
    real *inputs;        /* those that are tiles */
    real *by_inputs;     /* their gradients */
    real *outputs;       /* those that are tiles, or their gradients */
    real *by_states;     /* gradients by the states of an example's head, for every part */
    real *by_parameters; /* by the parameters of a head, for every part */
    real *past, *kept;   /* the states before and after every step of a chunk; what is saved of it */
    real *arrived;       /* by_states of one part at the end of a chunk */
    real *again;         /* a multiple of it */
    real *unwanted;      /* by parameters, computed once more */
    real *totals;        /* by new states without lanes, every path counted, of a chunk: [C][N_S][K] */
    real *zeros;         /* the gradient of an output that has none */
    double *squares;     /* the squared norms of a chunk: [C][N_S] */
    vec *by_lane;        /* those of one part, lane by lane */
    real *sums;          /* and the sums of their lanes */
    long b, h;           /* the example, the head */
    real *rows;          /* of a chunk, step by step: what the callers' tensors hold for this example's head */
    real *x[N_X], *dx[N_X], *y[N_Y]; /* in there: inputs, their gradients, outputs or theirs; null where not wanted */
} Work;

/* A row is short: a call of the C library takes longer than copying it */
ALWAYS_INLINE void copy_row(long size, real *to, const real *from) {
    long k = 0;
    for (; k + LANES <= size; k += LANES) {
        *(loose *)(to + k) = *(const loose *)(from + k);
        __asm__ volatile(""); /* or compilers make it that call again */
    }
    for (; k < size; k++) to[k] = from[k];
}

/* Copies an example's head at the steps t0 to t1 from rows that lie `step` numbers apart, or to them. They lie far
   apart, and fetching them one by one would have every step wait for memory. */
static void fetch_rows(long size, real *to, const real *from, long step, long steps) {
    for (long t = 0; t < steps; t++, from += step, to += size) copy_row(size, to, from);
}

static void return_rows(const Call *c, long size, real *to, const real *from, long step, long steps) {
    const int streamed = BYTES(c->T * c->B * c->n * size) >= STREAMED;
    for (long t = 0; t < steps; t++, to += step, from += size)
        if (streamed) stream_row(to, from, size);
        else copy_row(size, to, from);
}

/* Where an example's head lies in a tensor at a step */
#define INPUT_AT(c, i, t) ((c)->x[i] + (t) * (c)->x_t[i] + w->b * (c)->x_b[i] + w->h * (c)->x_n[i])
#define GRADIENT_AT(c, i, t) ((c)->grad_x[i] + (t) * (c)->grad_t[i] + w->b * (c)->grad_b[i] + w->h * (c)->grad_n[i])
#define OUTPUT_AT(c, y, i, t) ((c)->y[i] + (((t) * (c)->B + w->b) * (c)->n + w->h) * numbers(c, y_kind[i]))

/* While a step is computed, begins to fetch what the next chunk reads: every row is in another page of memory, which
   hardware does not predict. Macros: see PREFETCH. */
#define PREFETCH_INPUTS(c, t)     \
    for (int i = 0; i < N_X; i++) \
        if (x_kind[i] != 3) PREFETCH(INPUT_AT(c, i, t), numbers(c, x_kind[i]))

/* The same of the gradient of an output, and of an output */
static void fetch_gradient(const Work *w, int i, long t0, long t1) {
    const Call *c = w->c;
    const long size = numbers(c, y_kind[i]);
    fetch_rows(size, w->y[i], OUTPUT_AT(c, grad_y, i, t0), c->B * c->n * size, t1 - t0);
}

static void return_output(const Work *w, int i, long t0, long t1) {
    const Call *c = w->c;
    const long size = numbers(c, y_kind[i]);
    return_rows(c, size, OUTPUT_AT(c, y, i, t0), w->y[i], c->B * c->n * size, t1 - t0);
}

/* Numbers of the rows of a chunk: those of the inputs twice if their gradients are wanted too */
static long rows_size(const Call *c, int gradients) {
    long total = 0;
    for (int i = 0; i < N_X; i++) total += (1 + gradients) * numbers(c, x_kind[i]);
    for (int i = 0; i < N_Y; i++) total += numbers(c, y_kind[i]);
    return c->C * total;
}

/* Divides `rows` among the tensors, and fetches the inputs of the steps t0 to t1 */
static void open_chunk(Work *w, long t0, long t1) {
    const Call *c = w->c;
    real *next = w->rows;
    for (int i = 0; i < N_X; i++) {
        const long size = c->C * numbers(c, x_kind[i]);
        w->x[i] = next, next += size;
        w->dx[i] = c->grad_x[i] ? next : NULL, next += c->grad_x[i] ? size : 0;
        fetch_rows(numbers(c, x_kind[i]), w->x[i], INPUT_AT(c, i, t0), c->x_t[i], t1 - t0);
    }
    for (int i = 0; i < N_Y; i++) w->y[i] = next, next += c->C * numbers(c, y_kind[i]);
}

static void begin(const Work *w, Step *st, long number, const Part *part) {
    const Call *c = w->c;
    st->K = c->K, st->count = (real)c->K, st->rest = part->rest, st->lanes = part->width * LANES;
    st->keep = first_lanes(part->rest);
    st->fresh = number == 0;
    for (int i = 0; i < N_P; i++) {
        st->p[i] = w->parameters + (number * N_P + i) * w->stride;
        st->dp[i] = w->by_parameters + (number * N_P + i) * w->stride;
    }
}

/* A row of a tensor at a step of the chunk, counted from its first one; from the part's first lane on where it has
 * lanes */
static real *row_at(const Work *w, int kind, real *rows, const Part *part, long step) {
    return rows + step * numbers(w->c, kind) + (kind == 1 ? part->v0 : 0);
}

static int exists(const Work *w, long t) { return !w->c->mask || w->c->mask[t * w->c->B + w->b]; }

static void read_inputs(const Work *w, Step *st, const Part *part, long step) {
    for (int i = 0; i < N_X; i++) {
        st->x[i] = row_at(w, x_kind[i], w->x[i], part, step);
        if (x_kind[i] == 3) {
            real *tile = w->inputs + i * w->stride;
            gather(w->c, 3, part, tile, st->x[i]);
            st->x[i] = tile;
        }
    }
}

static void read_parameters(const Work *w) {
    for (long a = 0; a < w->parts; a++) {
        const Part part = part_of(w->c, a);
        for (int i = 0; i < N_P; i++)
            gather(w->c, p_kind[i], &part, w->parameters + (a * N_P + i) * w->stride,
                   w->c->p[i] + w->h * numbers(w->c, p_kind[i]));
    }
}

/* One part forward over the steps t0 to t1, from `state` to `state` */
static void forward_part(Work *w, Step *st, long number, real *state, long t0, long t1) {
    const Call *c = w->c;
    const Part part = part_of(c, number);
    begin(w, st, number, &part);
    for (int s = 0; s < N_S; s++) st->s[s] = st->new[s] = state + w->offset[s];
    for (long t = t0; t < t1; t++) {
        if (number == 0 && t + c->C < c->T) PREFETCH_INPUTS(c, t + c->C);
        for (int i = 0; i < N_Y; i++)
            st->y[i] = y_kind[i] == 3 ? w->outputs + i * w->stride : row_at(w, y_kind[i], w->y[i], &part, t - t0);
        if (exists(w, t)) {
            read_inputs(w, st, &part, t - t0);
            forward_step(part.width, st);
        } else
            for (int i = 0; i < N_Y; i++)
                memset(st->y[i], 0,
                       BYTES(y_kind[i] == 3   ? w->stride
                             : y_kind[i] == 1 ? part.count
                                              : numbers(w->c, y_kind[i])));
        for (int i = 0; i < N_Y; i++)
            if (y_kind[i] == 3) scatter(w->c, 3, &part, row_at(w, 3, w->y[i], &part, t - t0), st->y[i], 0);
    }
}

static int forward_slice(const Call *c, long slice, long b0, long nb) {
    Work w = {.c = c, .parts = count_parts(c), .stride = most_numbers(c)};
    w.block = block_of(c, w.offset);
    const long counts[] = {
        w.parts * N_P * w.stride,
        N_X * w.stride,
        N_Y * w.stride,
        N_ROWS * c->K,
        N_PARTS * c->K * LANES,
        N_TILES * w.stride,
        w.parts * w.block /* states that are not kept */,
        rows_size(c, 0),
    };
    real *space[8], *memory = allocate(8, counts, space);
    if (!memory) return 1;
    (void)slice;
    w.parameters = w.by_parameters = space[0], w.inputs = space[1], w.outputs = space[2], w.rows = space[7];
    Step st = {.rows = space[3], .parts = (vec *)space[4], .tiles = (vec *)space[5]};
    for (w.h = 0; w.h < c->n; w.h++) {
        read_parameters(&w);
        for (w.b = b0; w.b < b0 + nb; w.b++) {
            real *now = c->kept ? kept_at(c, 0, w.b, w.h) : space[6];
            for (long a = 0; a < w.parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    gather(c, s_kind[s], &part, now + a * w.block + w.offset[s],
                           c->initial[s] + (w.b * c->n + w.h) * numbers(c, s_kind[s]));
            }
            for (long t0 = 0; t0 < c->T; t0 += c->C) {
                const long t1 = t0 + c->C < c->T ? t0 + c->C : c->T;
                real *next = c->kept && t1 < c->T ? kept_at(c, t1 / c->C, w.b, w.h) : space[6];
                if (next != now) memcpy(next, now, BYTES(w.parts * w.block));
                now = next;
                open_chunk(&w, t0, t1);
                for (long a = 0; a < w.parts; a++) forward_part(&w, &st, a, now + a * w.block, t0, t1);
                for (int i = 0; i < N_Y; i++) return_output(&w, i, t0, t1);
            }
            for (long a = 0; a < w.parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    scatter(c, s_kind[s], &part, c->final[s] + (w.b * c->n + w.h) * numbers(c, s_kind[s]),
                            now + a * w.block + w.offset[s], 0);
            }
        }
    }
    __sync_synchronize(); /* other threads see what was streamed */
    free(memory);
    return 0;
}

/* The states of one part before and after the steps t0 to t1, and what else the way back reads */
static void recompute_part(Work *w, Step *st, const Part *part, const real *start, long t0, long t1) {
    const Call *c = w->c;
    memcpy(w->past, start, BYTES(w->block));
    for (long t = t0; t < t1; t++) {
        if (part->v0 == 0 && t >= c->C) {
            PREFETCH_INPUTS(c, t - c->C);
            for (int i = 0; i < N_Y; i++)
                if (y_kind[i] != 3 && c->grad_y[i]) PREFETCH(OUTPUT_AT(c, grad_y, i, t - c->C), numbers(c, y_kind[i]));
        }
        real *old = w->past + (t - t0) * w->block;
        if (exists(w, t)) {
            read_inputs(w, st, part, t - t0);
            st->saved = w->kept + (t - t0) * w->saved;
            for (int s = 0; s < N_S; s++) st->s[s] = old + w->offset[s], st->new[s] = old + w->block + w->offset[s];
            recompute_step(part->width, st);
        } else memcpy(old + w->block, old, BYTES(w->block));
    }
}

/* A step that does not exist: its inputs have no gradient, and those by the states pass */
static void skip_step(const Work *w, Step *st, const Part *part) {
    const Call *c = w->c;
    for (int i = 0; i < N_X; i++)
        if (st->dx[i] && (HAS_LANES(x_kind[i]) || st->fresh))
            memset(st->dx[i], 0,
                   BYTES(x_kind[i] == 3   ? w->stride
                         : x_kind[i] == 2 ? c->K
                         : x_kind[i]      ? part->count
                                          : 1));
    for (int s = 0; s < N_S; s++) {
        const long count = (HAS_LANES(s_kind[s]) ? st->lanes : 1) * (HAS_ROW(s_kind[s]) ? c->K : 1);
        real square = 0;
        for (long j = 0; st->record && HAS_LANES(s_kind[s]) && j < count; j++)
            if (j % st->lanes < part->count) square += st->l[s][j] * st->l[s][j];
        st->square[s] = (vec){square};
        for (long j = 0; st->total[s] && !HAS_LANES(s_kind[s]) && j < count; j++)
            st->total[s][j] = (st->fresh ? 0 : st->total[s][j]) + st->l[s][j];
    }
}

/* Squares of floats leave the range of floats long before the numbers do. Where they did, a part goes back once more
   with all gradients multiplied by one of these. */
#if LONGLAG_DOUBLE
#define LEAST_SQUARE 1e-280
#define LARGEST_SQUARE 1e290
static const real scales[] = {1, 0x1p400, 0x1p-400};
#else
#define LEAST_SQUARE 1e-25f
#define LARGEST_SQUARE 1e30f
static const real scales[] = {1, 0x1p64f, 0x1p96f, 0x1p-64f, 0x1p-80f};
#endif
#define N_SCALES ((int)(sizeof scales / sizeof scales[0]))

/* One part back over the steps t0 to t1, of which no gradient arrives before `silent`. With a scale but the first, only
   norms are computed that are not known yet. Returns whether there are any. */
static int backward_part(Work *w, Step *st, const Part *part, long t0, long t1, long silent, int scale) {
    int unknown = 0;
    for (long t = t1 - 1; t >= t0; t--) {
        real *old = w->past + (t - t0) * w->block, *by_input[N_X];
        st->square = w->by_lane + (t - t0) * N_S;
        for (int s = 0; s < N_S; s++) {
            st->s[s] = old + w->offset[s], st->n[s] = old + w->block + w->offset[s];
            st->total[s] = st->record && !scale ? w->totals + ((t - t0) * N_S + s) * ROUND(w->c->K) : NULL;
        }
        for (int i = 0; i < N_X; i++) {
            by_input[i] = w->dx[i] && !scale ? row_at(w, x_kind[i], w->dx[i], part, t - t0) : NULL;
            st->dx[i] = x_kind[i] == 3 ? w->by_inputs + i * w->stride : by_input[i];
        }
        if (exists(w, t)) {
            read_inputs(w, st, part, t - t0);
            st->saved = w->kept + (t - t0) * w->saved;
            for (int i = 0; i < N_Y; i++) {
                st->dy[i] = w->y[i] ? row_at(w, y_kind[i], w->y[i], part, t - t0) : w->zeros;
                if (y_kind[i] == 3 && w->y[i]) {
                    gather(w->c, 3, part, w->outputs + i * w->stride, st->dy[i]);
                    st->dy[i] = w->outputs + i * w->stride;
                }
            }
            backward_step(part->width, st);
        } else skip_step(w, st, part);
        for (int i = 0; i < N_X; i++)
            if (x_kind[i] == 3 && by_input[i]) scatter(w->c, 3, part, by_input[i], st->dx[i], 0);
    }
    if (!st->record) return 0;
    sum_lanes((t1 - t0) * N_S, w->by_lane, w->sums);
    for (long t = t0; t < t1; t++)
        for (int s = 0; s < N_S; s++) {
            if (!HAS_LANES(s_kind[s])) continue;
            const real found = w->sums[(t - t0) * N_S + s];
            double *square = w->squares + (t - t0) * N_S + s;
            const int known = found > LEAST_SQUARE && found < LARGEST_SQUARE;
            if (!scale || (known && !(*square > LEAST_SQUARE && *square < LARGEST_SQUARE)))
                *square = (double)found / scales[scale] / scales[scale];
            unknown |= t < silent && !(*square > LEAST_SQUARE && *square < LARGEST_SQUARE);
        }
    return unknown;
}

static int all_zero(const real *values, long count) {
    for (long j = 0; j < count; j++)
        if (values[j] != 0) return 0;
    return 1;
}

/* The first of the last steps of a chunk that no gradient reaches */
static long first_silent(const Work *w, long t0, long t1) {
    if (!all_zero(w->arrived, w->block)) return t1;
    for (; t1 > t0; t1--)
        for (int i = 0; i < N_Y; i++) {
            const long size = numbers(w->c, y_kind[i]);
            if (w->y[i] && !all_zero(w->y[i] + (t1 - 1 - t0) * size, size)) return t1;
        }
    return t1;
}

/* The gradients that arrive in a chunk, multiplied by a number */
static void scale_gradients(const Work *w, long t0, long t1, real by) {
    for (int i = 0; i < N_Y; i++) {
        const long count = (t1 - t0) * numbers(w->c, y_kind[i]);
        if (!w->y[i]) continue;
        fetch_gradient(w, i, t0, t1);
        for (long j = 0; by != 1 && j < count; j++) w->y[i][j] *= by;
    }
}

/* Every part of an example's head back over a chunk of steps */
static void backward_chunk(Work *w, Step *st, long t0, long t1) {
    const Call *c = w->c;
    open_chunk(w, t0, t1);
    for (int i = 0; i < N_Y; i++)
        if (!c->grad_y[i]) w->y[i] = NULL;
    scale_gradients(w, t0, t1, 1);
    for (long a = 0; a < w->parts; a++) {
        const Part part = part_of(c, a);
        real *by_state = w->by_states + a * w->block;
        begin(w, st, a, &part);
        recompute_part(w, st, &part, kept_at(c, t0 / c->C, w->b, w->h) + a * w->block, t0, t1);
        for (int s = 0; s < N_S; s++) st->l[s] = by_state + w->offset[s];
        if (st->record) memcpy(w->arrived, by_state, BYTES(w->block));
        const long silent = st->record ? first_silent(w, t0, t1) : t1;
        int scale = 0;
        while (backward_part(w, st, &part, t0, t1, silent, scale) && scale + 1 < N_SCALES) {
            scale++;
            for (int i = 0; i < N_P; i++) st->dp[i] = w->unwanted + i * w->stride;
            for (long j = 0; j < w->block; j++) w->again[j] = w->arrived[j] * scales[scale];
            for (int s = 0; s < N_S; s++) st->l[s] = w->again + w->offset[s];
            scale_gradients(w, t0, t1, scales[scale]);
        }
        if (scale) scale_gradients(w, t0, t1, 1);
        for (int s = 0; s < N_S; s++)
            for (long t = t0; c->squares[s] && HAS_LANES(s_kind[s]) && t < t1; t++) {
                double *place = c->squares[s] + t * c->B + w->b;
                *place = (w->h || a ? *place : 0) + w->squares[(t - t0) * N_S + s];
            }
    }
    for (int i = 0; i < N_X; i++)
        if (w->dx[i]) return_rows(c, numbers(c, x_kind[i]), GRADIENT_AT(c, i, t0), w->dx[i], c->grad_t[i], t1 - t0);
    for (int s = 0; s < N_S; s++)
        for (long t = t0; c->squares[s] && !HAS_LANES(s_kind[s]) && t < t1; t++) {
            double *place = c->squares[s] + t * c->B + w->b;
            const real *total = w->totals + ((t - t0) * N_S + s) * ROUND(c->K);
            *place = (w->h ? *place : 0) + sum_of_squares(total, HAS_ROW(s_kind[s]) ? c->K : 1);
        }
}

static int backward_slice(const Call *c, long slice, long b0, long nb) {
    Work w = {.c = c, .parts = count_parts(c), .stride = most_numbers(c)};
    w.block = block_of(c, w.offset), w.saved = (N_SAVED_LANES + N_SAVED_TILES * c->K) * widest(c) * LANES;
    const long doubles = sizeof(double) / sizeof(real);
    const long counts[] = {
        w.parts * N_P * w.stride,
        N_X * w.stride,
        N_X * w.stride,
        N_Y * w.stride,
        w.parts * w.block,
        w.parts * N_P * w.stride,
        (c->C + 1) * w.block,
        c->C * w.saved,
        w.block,
        w.block,
        N_P * w.stride,
        c->C * N_S * ROUND(c->K),
        w.stride,
        rows_size(c, 1),
        c->C * N_S * doubles,
        N_ROWS * c->K,
        N_PARTS * c->K * LANES,
        N_TILES * w.stride,
        c->C * N_S * LANES,
        c->C * N_S,
    };
    real **const places[] = {
        &w.parameters, &w.inputs,  &w.by_inputs, &w.outputs,  &w.by_states, &w.by_parameters, &w.past,
        &w.kept,       &w.arrived, &w.again,     &w.unwanted, &w.totals,    &w.zeros,         &w.rows,
    };
    real *space[20], *memory = allocate(20, counts, space);
    if (!memory) return 1;
    for (int i = 0; i < 14; i++) *places[i] = space[i];
    w.squares = (double *)space[14], w.by_lane = (vec *)space[18], w.sums = space[19];
    Step st = {.rows = space[15], .parts = (vec *)space[16], .tiles = (vec *)space[17]};
    for (int s = 0; s < N_S; s++) st.record |= c->squares[s] != NULL;
    memset(w.zeros, 0, BYTES(w.stride));
    for (w.h = 0; w.h < c->n; w.h++) {
        read_parameters(&w);
        memset(w.by_parameters, 0, BYTES(w.parts * N_P * w.stride));
        for (w.b = b0; w.b < b0 + nb; w.b++) {
            const long row = w.b * c->n + w.h;
            for (long a = 0; a < w.parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++) {
                    real *to = w.by_states + a * w.block + w.offset[s];
                    if (!c->grad_final[s] || (a && !HAS_LANES(s_kind[s])))
                        memset(to, 0, BYTES(part_numbers(c, s_kind[s])));
                    else gather(c, s_kind[s], &part, to, c->grad_final[s] + row * numbers(c, s_kind[s]));
                }
            }
            for (long t0 = (c->T - 1) / c->C * c->C; t0 >= 0; t0 -= c->C)
                backward_chunk(&w, &st, t0, t0 + c->C < c->T ? t0 + c->C : c->T);
            for (long a = 0; a < w.parts; a++) {
                const Part part = part_of(c, a);
                for (int s = 0; s < N_S; s++)
                    scatter(c, s_kind[s], &part, c->grad_initial[s] + row * numbers(c, s_kind[s]),
                            w.by_states + a * w.block + w.offset[s], a > 0 && !HAS_LANES(s_kind[s]));
            }
        }
        for (long a = 0; a < w.parts; a++) {
            const Part part = part_of(c, a);
            for (int i = 0; i < N_P; i++)
                if (c->grad_p[i])
                    scatter(c, p_kind[i], &part, c->grad_p[i] + slice * c->grad_stride + w.h * numbers(c, p_kind[i]),
                            w.by_parameters + (a * N_P + i) * w.stride, 1);
        }
    }
    __sync_synchronize(); /* other threads see what was streamed */
    free(memory);
    return 0;
}

int longlag_forward(const Call *c) { return in_slices(c, forward_slice); }

int longlag_backward(const Call *c) { return in_slices(c, backward_slice); }

long longlag_call_size(void) { return (long)sizeof(Call); }
