/* The time loop of a cell, forward and backward. Each thread takes a slice of the batch over all steps.

   `cell.h` is printed from the cell's plan (`source.py`): the macros N_..., the tables of its products and gates, and
   the loops over the units of one example, forward_core and backward_core, for a cell of two stages forward_first and
   backward_first too. Storage is row-major and time-major. */
#include "cell.h"
#include <stdint.h>
#include <sys/mman.h>

#include "call.h"
#include "slices.h"
#include "support.h"

/* How many values the packed weights of all terms take */
static long packed_size(const Call *c, int backward) {
    const long H = c->H;
    long total = 0;
    for (int k = 0; k < N_TERMS; k++)
        total += backward ? padded(c, H) * terms[k].count * H : padded(c, terms[k].count * H) * H;
    return total;
}

/* Pack U' of every term, or `backward` U, into weight[0], one behind the other */
static void pack_weights(const Call *c, int backward, real **weight) {
    const long H = c->H;
    for (int k = 0; k < N_TERMS; k++) {
        const real *block = c->weight_hh[terms[k].product] + terms[k].block * H;
        const long width = terms[k].count * H, row_stride = terms[k].blocks * H;
        if (backward) c->pack(H, width, block, row_stride, 1, weight[k]);
        else c->pack(width, H, block, 1, row_stride, weight[k]);
        weight[k + 1] = weight[k] + (backward ? padded(c, H) * width : padded(c, width) * H);
    }
}

/* Row 0 gets the biases of all slots */
static void gather_biases(const Call *c, real *row) {
    const long H = c->H;
    for (int r = 0; r < N_BIASES; r++)
        if (c->bias) memcpy(row + biases[r].slot * H, c->bias + biases[r].row * H, BYTES(biases[r].count * H));
    for (int r = 0; r < N_RECURRENT_BIASES; r++) {
        const Run run = recurrent_biases[r];
        if (c->bias_hh) memcpy(row + run.slot * H, c->bias_hh + run.row * H, BYTES(run.count * H));
    }
}

/* Row 1 + i gets the weights of input i */
static void gather_small_inputs(const Call *c, real *row) {
    const long H = c->H, I = c->I, W = N_SLOTS * H;
    for (long i = 0; i < I; i++)
        for (int r = 0; r < N_INPUTS; r++)
            for (long k = 0; k < inputs[r].count * H; k++)
                row[(i + 1) * W + inputs[r].slot * H + k] = c->weight_ih[(inputs[r].row * H + k) * I + i];
}

/* The pre-activations of one example from few inputs */
ALWAYS_INLINE void project_small(const long H, const long I, real *pre, const real *row, const real *x) {
    UNROLL_ALL(8)
    for (int r = 0; r < N_INPUTS; r++) {
        const long first = inputs[r].slot * H;
        project_row(I, pre + first, row + first, x, N_SLOTS * H, inputs[r].count * H);
    }
    UNROLL_ALL(8)
    for (int r = 0; r < N_WITHOUT_INPUT; r++) {
        const long first = without_input[r].slot * H;
        memcpy(pre + first, row + first, BYTES(without_input[r].count * H));
    }
}

static int forward_slice(const Call *c, long slice, long b0, long nb) {
    const long H = c->H, I = c->I, B = c->B, T = c->T, W = N_SLOTS * H;
    const int small = I <= SMALL_INPUT;
    long K = (small ? 8192 : 65536) / (nb * W); /* steps whose inputs are projected together */
    K = K < 1 ? 1 : K > T ? T : K;
    const long kept_stride = c->saved ? N_SAVED * H : 0; /* inference reads nothing of it: one row for all examples */
    const int streamed = c->saved && (long)sizeof(real) * T * B * N_SAVED * H >= STREAMED;
    const long counts[] = {
        K * nb * W,                        /* block: pre-activations of K steps */
        K * nb * I,                        /* packed: their inputs */
        N_MIDDLE * nb * H,                 /* middle: intermediates of a step */
        (streamed ? nb : 1) * N_SAVED * H, /* kept: what is not written to c->saved directly */
        (small ? I + 1 : 1) * W,           /* row: biases, and weights of few inputs */
        packed_size(c, 0),                 /* weight */
    };
    real *parts[6], *memory = allocate(6, counts, parts);
    if (!memory) return 1;
    real *block = parts[0], *packed = parts[1], *middle = parts[2], *kept = parts[3], *row = parts[4];
    real *weight[N_TERMS + 1] = {parts[5]};
    (void)slice, (void)middle;
    pack_weights(c, 0, weight);
    memset(row, 0, BYTES((small ? I + 1 : 1) * W));
    gather_biases(c, row);
    if (small && c->weight_ih) gather_small_inputs(c, row);
    for (long t0 = 0; t0 < T; t0 += K) {
        const long steps = T - t0 < K ? T - t0 : K;
        const real *x = c->weight_ih ? rows_of(c->x + t0 * B * I, steps, B, b0, nb, I, I, packed) : NULL;
        if (small && x)
            for (long r = 0; r < steps * nb; r++) project_small(H, I, block + r * W, row, x + r * I);
        else
            for (long r = 0; r < steps * nb; r++) memcpy(block + r * W, row, BYTES(W));
        for (int r = 0; !small && x && r < N_INPUTS; r++) {
            const real *matrix = c->weight_ih + inputs[r].row * H * I;
            product(c, steps * nb, inputs[r].count * H, I, x, I, matrix, I, block + inputs[r].slot * H, W);
        }
        for (long t = t0; t < t0 + steps; t++) {
            real *pre = block + (t - t0) * nb * W;
            real *keep = c->saved && !streamed ? c->saved + (t * B + b0) * N_SAVED * H : kept;
            const real *old[N_STATES];
            real *new[N_STATES];
            for (int s = 0; s < N_STATES; s++) {
                old[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];
                new[s] = c->state[s] + (t + 1) * c->stride[s] + b0 * c->lead[s];
            }
            for (int k = 0; k < N_TERMS; k++) /* pre-activations += U state */
                if (terms[k].stage == 1)
                    c->multiply(nb, terms[k].count * H, H, old[terms[k].source], c->lead[terms[k].source], weight[k],
                                pre + terms[k].slot * H, W);
#if N_MIDDLE
            const real *before[N_STATES];
            real *between[N_MIDDLE];
            for (int s = 0; s < N_STATES; s++) before[s] = old[s];
            for (int m = 0; m < N_MIDDLE; m++) between[m] = middle + m * nb * H;
            for (long b = 0; b < nb; b++) {
                forward_first(H, pre + b * W, before, between, keep + b * kept_stride, c->unit);
                for (int s = 0; s < N_STATES; s++) before[s] += c->lead[s];
                for (int m = 0; m < N_MIDDLE; m++) between[m] += H;
            }
            for (int k = 0; k < N_TERMS; k++) /* pre-activations += U intermediate */
                if (terms[k].stage == 2)
                    c->multiply(nb, terms[k].count * H, H, middle + terms[k].source * nb * H, H, weight[k],
                                pre + terms[k].slot * H, W);
#endif
            /* pointers move from row to row: with 64 units, computing each row's addresses took 1 to 2 % of a pass */
            for (long b = 0; b < nb; b++, pre += W, keep += kept_stride) {
                if (c->mask && !c->mask[t * B + b0 + b])
                    for (int s = 0; s < N_STATES; s++) memmove(new[s], old[s], BYTES(H));
                else {
                    forward_core(H, pre, old, new, keep, c->unit);
                    if (streamed) c->stream(c->saved + (t * B + b0 + b) * N_SAVED * H, keep, N_SAVED * H);
                }
                for (int s = 0; s < N_STATES; s++) old[s] += c->lead[s], new[s] += c->lead[s];
            }
        }
    }
    if (streamed) __sync_synchronize(); /* other threads see it from here on */
    free(memory);
    return 0;
}

/* Weight gradients += those of the steps t0 to t0 + steps, from the gradients by their pre-activations */
static void sum_weight_gradients(const Call *c, long slice, long b0, long nb, long t0, long steps, long middle_stride,
                                 const real *middle, const real *dpre, real *packed) {
    const long H = c->H, B = c->B, W = N_SLOTS * H;
    (void)middle_stride, (void)middle;
    for (int k = 0; k < N_TERMS; k++) {
        const Term term = terms[k];
        if (!c->grad_weight_hh[term.product]) continue;
        const real *source;
        long source_stride = H;
        if (term.stage == 1) {
            const long lead = c->lead[term.source];
            source = rows_of(c->state[term.source] + t0 * c->stride[term.source], steps, B, b0, nb, H, lead, packed);
            if (nb == B) source_stride = lead;
        } else source = middle + term.source * middle_stride;
        real *gradient = c->grad_weight_hh[term.product] + slice * c->grad_stride + term.block * H;
        c->outer(steps * nb, term.count * H, H, dpre + term.slot * H, W, source, source_stride, gradient,
                 term.blocks * H);
    }
}

/* The gradients by the inputs of the same steps */
static void write_input_gradients(const Call *c, long b0, long nb, long t0, long steps, const real *dpre,
                                  real *packed) {
    const long H = c->H, I = c->I, B = c->B, W = N_SLOTS * H;
    real *grad_x = nb == B ? c->grad_x + t0 * B * I : packed;
    memset(grad_x, 0, BYTES(steps * nb * I));
    for (int r = 0; r < N_INPUTS; r++) {
        const real *matrix = c->weight_ih + inputs[r].row * H * I;
        product_transposed(c, steps * nb, inputs[r].count * H, I, dpre + inputs[r].slot * H, W, matrix, I, grad_x, I);
    }
    for (long t = 0; nb != B && t < steps; t++)
        memcpy(c->grad_x + ((t0 + t) * B + b0) * I, packed + t * nb * I, BYTES(nb * I));
}

/* Gradients of the biases, and of the input weights by vector code where there are few inputs, else by products */
static void sum_bias_and_input_gradients(const Call *c, long slice, long rows, const real *x, const real *dpre,
                                         real *columns) {
    const long H = c->H, I = c->I, W = N_SLOTS * H, thread = slice * c->grad_stride;
    const int small = I <= SMALL_INPUT && c->grad_weight_ih;
    for (int r = 0; c->grad_weight_ih && !small && r < N_INPUTS; r++)
        c->outer(rows, inputs[r].count * H, I, dpre + inputs[r].slot * H, W, x, I,
                 c->grad_weight_ih + thread + inputs[r].row * H * I, I);
    memset(columns, 0, BYTES((small ? I + 1 : 1) * W));
    for (int r = 0; r < N_INPUTS; r++)
        sum_columns(small ? I : 0, rows, columns + inputs[r].slot * H, dpre + inputs[r].slot * H, x, I, W,
                    inputs[r].count * H);
    for (int r = 0; r < N_WITHOUT_INPUT; r++) {
        const long first = without_input[r].slot * H;
        sum_columns(0, rows, columns + first, dpre + first, x, I, W, without_input[r].count * H);
    }
    for (int r = 0; c->grad_bias && r < N_BIASES; r++)
        for (long k = 0; k < biases[r].count * H; k++)
            c->grad_bias[thread + biases[r].row * H + k] += columns[biases[r].slot * H + k];
    for (int r = 0; c->grad_bias_hh && r < N_RECURRENT_BIASES; r++)
        for (long k = 0; k < recurrent_biases[r].count * H; k++)
            c->grad_bias_hh[thread + recurrent_biases[r].row * H + k] += columns[recurrent_biases[r].slot * H + k];
    for (long i = 0; small && i < I; i++)
        for (int r = 0; r < N_INPUTS; r++)
            for (long k = 0; k < inputs[r].count * H; k++)
                c->grad_weight_ih[thread + (inputs[r].row * H + k) * I + i] +=
                    columns[(i + 1) * W + inputs[r].slot * H + k];
}

static int backward_slice(const Call *c, long slice, long b0, long nb) {
    const long H = c->H, I = c->I, B = c->B, T = c->T, W = N_SLOTS * H;
    const long tall = I <= SMALL_INPUT && c->grad_weight_ih ? I + 1 : 1, wide = H > I ? H : I;
    long K = (BLOCK_ROWS + nb - 1) / nb; /* steps whose weight gradients are summed together */
    K = K > T ? T : K;
    const long counts[] = {
        K * nb * W,            /* dpre: gradients of the pre-activations of K steps */
        K * nb * wide,         /* packed: their states or inputs */
        tall * W,              /* columns: sums over the rows of dpre */
        N_UNITS * H,           /* unit_block: gradients of the parameters with one value a unit, of K steps */
        N_UNITS * H,           /* unit_total: of all steps */
        N_MIDDLE * K * nb * H, /* middle: intermediates of K steps */
        N_MIDDLE * nb * H,     /* grad_middle: gradients of those of a step */
        H,                     /* zeros */
        N_STATES * H,          /* total: of one example: the gradients of its new states, every path counted */
        packed_size(c, 1),     /* weight */
    };
    real *parts[10], *memory = allocate(10, counts, parts);
    if (!memory) return 1;
    real *dpre = parts[0], *packed = parts[1], *columns = parts[2], *unit_block = parts[3], *unit_total = parts[4];
    real *middle = parts[5], *grad_middle = parts[6], *zeros = parts[7];
    real *total = parts[8], *weight[N_TERMS + 1] = {parts[9]};
    (void)grad_middle;
    pack_weights(c, 1, weight);
    if (c->grad_weights) memset(c->grad_weights + slice * c->grad_stride, 0, BYTES(c->grad_stride));
    memset(unit_total, 0, BYTES(N_UNITS * H));
    memset(zeros, 0, BYTES(H));
    for (long t1 = T, t0; t1 > 0; t1 = t0) {
        t0 = (t1 - 1) / K * K;
        const long steps = t1 - t0;
        memset(unit_block, 0, BYTES(N_UNITS * H));
        for (long t = t1 - 1; t >= t0; t--) {
            real *dpre_t = dpre + (t - t0) * nb * W, *dpre_row = dpre_t;
            const real *old[N_STATES], *new[N_STATES], *outer[N_STATES];
            const real *saved = c->saved + (t * B + b0) * N_SAVED * H;
            real *grad[N_STATES], *between[N_MIDDLE];
            long outer_stride[N_STATES];
            for (int s = 0; s < N_STATES; s++) {
                old[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];
                new[s] = old[s] + c->stride[s];
                grad[s] = c->grad_state[s] + b0 * H;
                outer[s] = c->grad_output[s] ? c->grad_output[s] + (t * B + b0) * c->lead[s] : zeros;
                outer_stride[s] = c->grad_output[s] ? c->lead[s] : 0;
            }
            for (int m = 0; m < N_MIDDLE; m++) between[m] = middle + (m * K + t - t0) * nb * H;
            for (long b = 0; b < nb; b++, dpre_row += W, saved += N_SAVED * H) {
                if (c->mask && !c->mask[t * B + b0 + b]) {
                    memset(dpre_row, 0, BYTES(W));
                    for (int m = 0; m < N_MIDDLE; m++) memset(between[m], 0, BYTES(H));
                    for (int s = 0; s < N_STATES; s++) {
                        for (long j = 0; j < H; j++) grad[s][j] += outer[s][j];
                        if (c->squares[s]) c->squares[s][t * B + b0 + b] = sum_of_squares(grad[s], H);
                    }
                } else {
                    if (t > 0) { /* the same row of the step before: it is read after this step's products */
                        PREFETCH(saved - B * N_SAVED * H, N_SAVED * H);
                        for (int s = 0; s < N_STATES; s++)
                            if (c->stride[s]) PREFETCH(old[s] - c->stride[s], H);
                    }
                    backward_core(H, saved, old, new, grad, outer, dpre_row, between, total, unit_block, c->unit);
                    for (int s = 0; s < N_STATES; s++)
                        if (c->squares[s]) c->squares[s][t * B + b0 + b] = sum_of_squares(total + s * H, H);
                }
                for (int s = 0; s < N_STATES; s++) {
                    old[s] += c->lead[s], new[s] += c->lead[s], grad[s] += H, outer[s] += outer_stride[s];
                }
                for (int m = 0; m < N_MIDDLE; m++) between[m] += H;
            }
#if N_MIDDLE
            memset(grad_middle, 0, BYTES(N_MIDDLE * nb * H));
            for (int k = 0; k < N_TERMS; k++) /* gradients of intermediates += U' those of pre-activations */
                if (terms[k].stage == 2)
                    c->multiply(nb, H, terms[k].count * H, dpre_t + terms[k].slot * H, W, weight[k],
                                grad_middle + terms[k].source * nb * H, H);
            const real *before[N_STATES], *after[N_STATES], *by_middle[N_MIDDLE];
            real *carry[N_STATES];
            for (int s = 0; s < N_STATES; s++) {
                before[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];
                after[s] = before[s] + c->stride[s];
                carry[s] = c->grad_state[s] + b0 * H;
            }
            for (int m = 0; m < N_MIDDLE; m++) by_middle[m] = grad_middle + m * nb * H;
            for (long b = 0; b < nb; b++) {
                if (!c->mask || c->mask[t * B + b0 + b])
                    backward_first(H, c->saved + (t * B + b0 + b) * N_SAVED * H, before, after, by_middle,
                                   dpre_t + b * W, carry, unit_block, c->unit);
                for (int s = 0; s < N_STATES; s++) before[s] += c->lead[s], after[s] += c->lead[s], carry[s] += H;
                for (int m = 0; m < N_MIDDLE; m++) by_middle[m] += H;
            }
#endif
            for (int k = 0; k < N_TERMS; k++) /* gradients of states += U' those of pre-activations */
                if (terms[k].stage == 1)
                    c->multiply(nb, H, terms[k].count * H, dpre_t + terms[k].slot * H, W, weight[k],
                                c->grad_state[terms[k].source] + b0 * H, H);
        }
        sum_weight_gradients(c, slice, b0, nb, t0, steps, K * nb * H, middle, dpre, packed);
        if (c->grad_x) write_input_gradients(c, b0, nb, t0, steps, dpre, packed);
        const real *x = c->grad_weight_ih ? rows_of(c->x + t0 * B * I, steps, B, b0, nb, I, I, packed) : NULL;
        sum_bias_and_input_gradients(c, slice, steps * nb, x, dpre, columns);
        for (long k = 0; k < N_UNITS * H; k++) unit_total[k] += unit_block[k];
    }
    for (int u = 0; u < N_UNITS; u++)
        for (long j = 0; c->grad_unit[u] && j < H; j++)
            c->grad_unit[u][slice * c->grad_stride + j] += unit_total[u * H + j];
    free(memory);
    return 0;
}

/* Asks for huge pages: the first touch of many small ones takes as long as the pointwise work on them */
static void advise(real *from, long count) {
#ifdef MADV_HUGEPAGE
    const uintptr_t huge = 1 << 21, start = ((uintptr_t)from + huge - 1) & ~(huge - 1);
    const uintptr_t end = (uintptr_t)(from + count) & ~(huge - 1);
    if (from && end > start + huge) madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)from, (void)count;
#endif
}

int longlag_forward(const Call *c) {
    const long B = c->B, H = c->H;
    for (int s = 0; s < N_STATES; s++) {
        advise(c->state[s], c->stride[s] * (c->T + 1));
        if (c->initial[s]) copy_rows(B, H, c->state[s], c->lead[s], c->initial[s], H);
    }
    if (in_slices(c, forward_slice)) return 1;
    for (int s = 0; s < N_STATES; s++)
        if (c->final[s]) copy_rows(B, H, c->final[s], H, c->state[s] + c->T * c->stride[s], c->lead[s]);
    return 0;
}

int longlag_backward(const Call *c) {
    const size_t row = BYTES(c->B * c->H);
    for (int s = 0; s < N_STATES; s++) {
        if (!c->grad_final[s]) memset(c->grad_state[s], 0, row);
        else if (c->grad_final[s] != c->grad_state[s]) memcpy(c->grad_state[s], c->grad_final[s], row);
    }
    return in_slices(c, backward_slice);
}

long longlag_call_size(void) { return (long)sizeof(Call); }
