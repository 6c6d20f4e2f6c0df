/* A function of rows, forward and backward: one row after the other, in the order of memory. Each thread takes a slice
   of the groups. `rows.h` is printed from the plan (`row_source.py`): the macros N_..., forward_step, backward_step. */
#include "rows.h"

#include "common.h"
#include "slices.h"

static void read_row(const Call *c, Step *st, long group, long row) {
    for (int i = 0; i < N_X; i++) st->x[i] = c->x[i] + group * c->x_group[i] + row * c->x_row[i];
    for (int i = 0; i < N_P; i++) st->p[i] = c->p[i] + row % c->m * c->K;
}

static int forward_slice(const Call *c, long slice, long first, long groups) {
    const long counts[] = {N_ROWS * c->K};
    real *space[1], *memory = allocate(1, counts, space);
    if (!memory) return 1;
    (void)slice;
    Step st = {.K = c->K, .count = (real)c->K, .rows = space[0]};
    for (long group = first; group < first + groups; group++)
        for (long row = 0; row < c->n; row++) {
            read_row(c, &st, group, row);
            for (int i = 0; i < N_Y; i++) st.y[i] = c->y[i] + (group * c->n + row) * c->K;
            forward_step(&st);
        }
    free(memory);
    return 0;
}

static int backward_slice(const Call *c, long slice, long first, long groups) {
    const long counts[] = {N_ROWS * c->K, (N_X + N_P) * c->K};
    real *space[2], *memory = allocate(2, counts, space);
    if (!memory) return 1;
    Step st = {.K = c->K, .count = (real)c->K, .rows = space[0]};
    memset(space[1], 0, BYTES((N_X + N_P) * c->K));
    for (long group = first; group < first + groups; group++)
        for (long row = 0; row < c->n; row++) {
            read_row(c, &st, group, row);
            for (int i = 0; i < N_Y; i++) st.dy[i] = c->grad_y[i] + (group * c->n + row) * c->K;
            for (int i = 0; i < N_X; i++)
                st.dx[i] =
                    c->grad_x[i] ? c->grad_x[i] + group * c->grad_group[i] + row * c->grad_row[i] : space[1] + i * c->K;
            for (int i = 0; i < N_P; i++)
                st.dp[i] = c->grad_p[i] ? c->grad_p[i] + slice * c->grad_stride + row % c->m * c->K
                                        : space[1] + (N_X + i) * c->K;
            backward_step(&st);
        }
    free(memory);
    return 0;
}

int longlag_forward(const Call *c) { return in_slices(c, forward_slice); }

int longlag_backward(const Call *c) { return in_slices(c, backward_slice); }

long longlag_call_size(void) { return (long)sizeof(Call); }
