/* A chain of dense products and functions of rows, forward and backward. A block of rows goes through all steps before
   the next, so that what lies between the steps stays in the cache. Each thread takes a slice of the rows. `chain.h` is
   printed from the plan (`chain_source.py`): the macros N_... and MOST_..., the functions of rows, open_parts,
   forward_block and backward_block in terms of `chain_step.h`, and which values and parameters are what. */
#include "chain.h"

#include "slices.h"

static long widest(const Call *c) {
    long most = 0;
    for (int i = 0; i < N_V; i++) most = c->width[i] > most ? c->width[i] : most;
    return most;
}

/* Work space: of every value, of its gradient, and of packed weights; then buffers, spare rows and zeros. */
enum { VALUES, GRADIENTS = N_V, WEIGHTS = 2 * N_V, BUFFERS = 2 * N_V + N_P, SPARE, ZEROS, N_SPACES };

static real *open_work(const Call *c, Work *w, real **space, int backward) {
    long counts[N_SPACES] = {0};
    w->c = c, w->widest = widest(c);
    for (int i = 0; i < N_V; i++) {
        if (!c->value[i] && is_inner[i]) counts[VALUES + i] = c->block * c->width[i];
        if (backward && !c->grad[i] && is_inner[i]) counts[GRADIENTS + i] = c->block * c->width[i];
    }
    for (int i = 0; i < N_P; i++)
        if (is_weight[i])
            counts[WEIGHTS + i] =
                backward ? padded(c, c->p_width[i]) * c->p_rows[i] : padded(c, c->p_rows[i]) * c->p_width[i];
    counts[BUFFERS] = N_ROWS * w->widest, counts[SPARE] = backward ? (MOST_X + MOST_P) * w->widest : 0;
    counts[ZEROS] = w->widest;
    real *memory = allocate(N_SPACES, counts, space);
    if (!memory) return NULL;
    for (int i = 0; i < N_P; i++) {
        if (!is_weight[i]) continue;
        const long rows = c->p_rows[i], width = c->p_width[i];
        w->packed[i] = space[WEIGHTS + i];
        if (backward) c->pack(width, rows, c->p[i], width, 1, w->packed[i]);
        else c->pack(rows, width, c->p[i], 1, width, w->packed[i]);
    }
    w->buffers = space[BUFFERS], w->spare = space[SPARE], w->zeros = space[ZEROS];
    memset(w->spare, 0, BYTES(counts[SPARE])), memset(w->zeros, 0, BYTES(counts[ZEROS]));
    return memory;
}

/* Where the rows from number r on lie */
static void open_block(Work *w, real *const *space, long r, int backward) {
    const Call *c = w->c;
    for (int i = 0; i < N_V; i++) {
        w->v[i] = c->value[i] ? c->value[i] + r * c->value_row[i] : space[VALUES + i];
        w->v_row[i] = c->value[i] ? c->value_row[i] : c->width[i];
        if (!backward) continue;
        w->d[i] = c->grad[i] ? c->grad[i] + r * c->grad_row[i] : is_inner[i] ? space[GRADIENTS + i] : NULL;
        w->d_row[i] = c->grad[i] ? c->grad_row[i] : c->width[i];
    }
    open_parts(w);
}

static int forward_slice(const Call *c, long slice, long first, long rows) {
    Work w = {0};
    real *space[N_SPACES], *memory = open_work(c, &w, space, 0);
    if (!memory) return 1;
    (void)slice;
    for (long r = first; r < first + rows; r += c->block) {
        w.rows = first + rows - r < c->block ? first + rows - r : c->block;
        open_block(&w, space, r, 0);
        forward_block(&w);
    }
    free(memory);
    return 0;
}

static int backward_slice(const Call *c, long slice, long first, long rows) {
    Work w = {0};
    real *space[N_SPACES], *memory = open_work(c, &w, space, 1);
    if (!memory) return 1;
    for (int i = 0; i < N_P; i++) w.dp[i] = c->grad_p[i] ? c->grad_p[i] + slice * c->grad_stride : NULL;
    for (long r = first; r < first + rows; r += c->block) {
        w.rows = first + rows - r < c->block ? first + rows - r : c->block;
        open_block(&w, space, r, 1);
        backward_block(&w);
    }
    free(memory);
    return 0;
}

int longlag_forward(const Call *c) { return in_slices(c, forward_slice); }

int longlag_backward(const Call *c) { return in_slices(c, backward_slice); }

long longlag_call_size(void) { return (long)sizeof(Call); }
