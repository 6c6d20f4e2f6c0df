"""The C text of the time loop, forward and backward, and of the threads; the same for every cell.

Each thread takes a slice of the batch over the whole time loop. ``@name@`` stands for what `source.py` prints from the
cell, the rest is that of `template.py`.
"""

FORWARD = """\
static int forward_slice(const Call *c, long slice, long b0, long nb) {
    const long H = c->H, I = c->I, B = c->B, T = c->T, W = N_SLOTS * H;
    const int small = I <= SMALL_INPUT;
    long K = (small ? 8192 : 65536) / (nb * W); /* steps whose inputs are projected together */
    K = K < 1 ? 1 : K > T ? T : K;
    const long kept_apart = c->saved ? N_SAVED * H : 0; /* nobody reads what is kept of an inference: one row for all */
    const int streamed = c->saved && (long)sizeof(real) * T * B * N_SAVED * H >= STREAMED;
    const long counts[] = {
        K * nb * W, K * nb * I, N_MIDDLE * nb * H, (streamed ? nb : 1) * N_SAVED * H, (small ? I + 1 : 1) * W, @panels@
    };
    real *parts[6], *memory = allocate(6, counts, parts);
    if (!memory) return 1;
    real *block = parts[0], *packed = parts[1], *middle = parts[2], *kept = parts[3], *row = parts[4];
    real *weight[N_TERMS + 1] = {parts[5]};
    (void)slice;
    @pack@
    memset(row, 0, sizeof(real) * (size_t)((small ? I + 1 : 1) * W));
    @biases@
    if (small && c->weight_ih) for (long i = 0; i < I; i++) { /* row 0: biases, row 1 + i: the weights of input i */
        @small_inputs@
    }
    for (long t0 = 0; t0 < T; t0 += K) {
        const long steps = T - t0 < K ? T - t0 : K;
        const real *x = c->weight_ih ? rows_of(c->x + t0 * B * I, steps, B, b0, nb, I, I, packed) : NULL;
        for (long r = 0; r < steps * nb; r++) {
            real *pre = block + r * W;
            if (!small || !x) {
                memcpy(pre, row, sizeof(real) * (size_t)W);
                continue;
            }
            @small_products@
        }
        if (!small && x) {
            @input_products@
        }
        for (long t = t0; t < t0 + steps; t++) {
            real *pre = block + (t - t0) * nb * W;
            real *keep = c->saved && !streamed ? c->saved + (t * B + b0) * N_SAVED * H : kept;
            @first_terms@
            @second_stage@
            const real *old[N_STATES];
            real *new[N_STATES];
            for (int s = 0; s < N_STATES; s++) {
                old[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];
                new[s] = c->state[s] + (t + 1) * c->stride[s] + b0 * c->lead[s];
            }
            /* from row to row by steps: with 64 units, addresses computed anew for each row took 1 to 2 % of a pass */
            for (long b = 0; b < nb; b++, pre += W, keep += kept_apart) {
                if (c->mask && !c->mask[t * B + b0 + b])
                    for (int s = 0; s < N_STATES; s++) memmove(new[s], old[s], sizeof(real) * (size_t)H);
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
"""

BACKWARD = """\
static int backward_slice(const Call *c, long slice, long b0, long nb) {
    const long H = c->H, I = c->I, B = c->B, T = c->T, W = N_SLOTS * H;
    const int small = I <= SMALL_INPUT && c->grad_weight_ih;
    const long tall = small ? I + 1 : 1, wide = H > I ? H : I;
    long K = (BLOCK_ROWS + nb - 1) / nb; /* steps whose weight gradients are summed together */
    K = K > T ? T : K;
    const long counts[] = {
        K * nb * W, K * nb * wide, tall * W, N_UNITS * H, N_UNITS * H, N_MIDDLE * K * nb * H, N_MIDDLE * nb * H, H,
        N_STATES * H, @panels@
    };
    real *parts[10], *memory = allocate(10, counts, parts);
    if (!memory) return 1;
    real *dpre = parts[0], *packed = parts[1], *columns = parts[2], *unit_block = parts[3], *unit_total = parts[4];
    real *middle = parts[5], *grad_middle = parts[6], *zeros = parts[7];
    real *total = parts[8]; /* of one example: the gradients of its new states, every path counted */
    real *weight[N_TERMS + 1] = {parts[9]};
    @pack@
    if (c->grad_weights) memset(c->grad_weights + slice * c->grad_stride, 0, sizeof(real) * (size_t)c->grad_stride);
    memset(unit_total, 0, sizeof(real) * N_UNITS * (size_t)H);
    memset(zeros, 0, sizeof(real) * (size_t)H);
    for (long t1 = T, t0; t1 > 0; t1 = t0) {
        t0 = (t1 - 1) / K * K;
        const long steps = t1 - t0;
        memset(unit_block, 0, sizeof(real) * N_UNITS * (size_t)H);
        for (long t = t1 - 1; t >= t0; t--) {
            real *dpre_t = dpre + (t - t0) * nb * W, *dpre_row = dpre_t;
            const real *old[N_STATES], *new[N_STATES], *outer[N_STATES];
            const real *saved = c->saved + (t * B + b0) * N_SAVED * H;
            real *grad[N_STATES], *row[N_MIDDLE];
            long outer_apart[N_STATES];
            for (int s = 0; s < N_STATES; s++) {
                old[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];
                new[s] = old[s] + c->stride[s];
                grad[s] = c->grad_state[s] + b0 * H;
                outer[s] = c->grad_output[s] ? c->grad_output[s] + (t * B + b0) * c->lead[s] : zeros;
                outer_apart[s] = c->grad_output[s] ? c->lead[s] : 0;
            }
            for (int m = 0; m < N_MIDDLE; m++) row[m] = middle + (m * K + t - t0) * nb * H;
            for (long b = 0; b < nb; b++, dpre_row += W, saved += N_SAVED * H) {
                if (c->mask && !c->mask[t * B + b0 + b]) {
                    memset(dpre_row, 0, sizeof(real) * (size_t)W);
                    for (int m = 0; m < N_MIDDLE; m++) memset(row[m], 0, sizeof(real) * (size_t)H);
                    for (int s = 0; s < N_STATES; s++) {
                        for (long j = 0; j < H; j++) grad[s][j] += outer[s][j];
                        if (c->squares[s]) c->squares[s][t * B + b0 + b] = sum_of_squares(grad[s], H);
                    }
                } else {
                    if (t > 0) { /* the same row of the step before: it is read after this step's products */
                        PREFETCH(saved - B * N_SAVED * H, N_SAVED * H)
                        for (int s = 0; s < N_STATES; s++)
                            if (c->stride[s]) PREFETCH(old[s] - c->stride[s], H)
                    }
                    backward_core(H, saved, old, new, grad, outer, dpre_row, row, total, unit_block, c->unit);
                    for (int s = 0; s < N_STATES; s++)
                        if (c->squares[s]) c->squares[s][t * B + b0 + b] = sum_of_squares(total + s * H, H);
                }
                for (int s = 0; s < N_STATES; s++) {
                    old[s] += c->lead[s], new[s] += c->lead[s], grad[s] += H, outer[s] += outer_apart[s];
                }
                for (int m = 0; m < N_MIDDLE; m++) row[m] += H;
            }
            @second_stage@
            @first_terms@
        }
        @weight_gradients@
        if (c->grad_x) {
            real *grad_x = nb == B ? c->grad_x + t0 * B * I : packed;
            memset(grad_x, 0, sizeof(real) * (size_t)(steps * nb * I));
            @input_gradients@
            for (long t = 0; nb != B && t < steps; t++)
                memcpy(c->grad_x + ((t0 + t) * B + b0) * I, packed + t * nb * I, sizeof(real) * (size_t)(nb * I));
        }
        const real *x = c->grad_weight_ih ? rows_of(c->x + t0 * B * I, steps, B, b0, nb, I, I, packed) : NULL;
        if (c->grad_weight_ih && !small) {
            @input_weight_gradients@
        }
        memset(columns, 0, sizeof(real) * (size_t)(tall * W));
        @columns@
        @biases@
        for (long i = 0; small && i < I; i++) {
            @small_inputs@
        }
        for (long k = 0; k < N_UNITS * H; k++) unit_total[k] += unit_block[k];
    }
    @unit_gradients@
    free(memory);
    return 0;
}
"""

THREADS = """\
typedef int (*slice_t)(const Call *, long, long, long);
typedef struct {
    const Call *c;
    slice_t run;
    long slice;
    int failed, started;
    pthread_t thread;
} Job;

static void *work(void *argument) {
    Job *job = argument;
    const Call *c = job->c;
    const long b0 = c->B * job->slice / c->threads, b1 = c->B * (job->slice + 1) / c->threads;
    const int before = c->limit_threads ? c->limit_threads(1) : 0; /* BLAS holds this setting for each thread */
    job->failed = job->run(c, job->slice, b0, b1 - b0);
    if (c->limit_threads) c->limit_threads(before);
    if (job->started && c->free_buffers) c->free_buffers(); /* this thread ends: BLAS must not keep its buffers */
    return NULL;
}

static int in_slices(const Call *c, slice_t run) {
    Job *jobs = calloc((size_t)c->threads, sizeof(Job));
    int failed = 0;
    if (!jobs) return 1;
    for (long k = c->threads - 1; k >= 0; k--) {
        jobs[k] = (Job){.c = c, .run = run, .slice = k, .started = k > 0};
        if (k == 0 || pthread_create(&jobs[k].thread, NULL, work, &jobs[k])) {
            jobs[k].started = 0;
            work(&jobs[k]);
        }
    }
    for (long k = 0; k < c->threads; k++) {
        if (jobs[k].started) pthread_join(jobs[k].thread, NULL);
        failed |= jobs[k].failed;
    }
    free(jobs);
    return failed;
}

/* Ask for huge pages: first touch of many small ones takes as long as the pointwise work on them */
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
    const size_t row = sizeof(real) * (size_t)(c->B * c->H);
    for (int s = 0; s < N_STATES; s++) {
        if (!c->grad_final[s]) memset(c->grad_state[s], 0, row);
        else if (c->grad_final[s] != c->grad_state[s]) memcpy(c->grad_state[s], c->grad_final[s], row);
    }
    return in_slices(c, backward_slice);
}

long longlag_call_size(void) { return (long)sizeof(Call); }
"""
