/* Runs one call of a cell's kernel, forward and then backward, in a process of its own: `cross.py` writes the file with
   the call and its tensors, and reads the tensors that come back. Linked with a cell's source and with tiles.c. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if LONGLAG_DOUBLE
typedef double real;
#else
typedef float real;
#endif

int longlag_forward(const void *call);
int longlag_backward(const void *call);
long longlag_call_size(void);
long longlag_panel(void);
void longlag_multiply(void);
void longlag_pack(void);
void longlag_stream(void);
void longlag_outer(void);

/* C += op(A) B by columns, all that the kernels ask of a BLAS */
static void gemm(const char *op, const char *n, const int *M, const int *N, const int *K, const real *one,
                 const real *A, const int *lda, const real *B, const int *ldb, const real *add, real *C,
                 const int *ldc) {
    if (*n != 'N' || *one != 1 || *add != 1) exit(6);
    for (int j = 0; j < *N; j++)
        for (int i = 0; i < *M; i++)
            for (int k = 0; k < *K; k++)
                C[i + j * *ldc] += A[*op == 'N' ? i + k * *lda : k + i * *lda] * B[k + j * *ldb];
}

/* A field is a number, the address of a byte of a tensor or of one of the functions of tiles.c, or the width of a panel
 */
enum { NUMBER, TENSOR, FUNCTION, PANEL };

static int64_t number(FILE *file) {
    int64_t value;
    if (fread(&value, sizeof value, 1, file) != 1) exit(2);
    return value;
}

int main(int count, char **names) {
    FILE *in = count == 3 ? fopen(names[1], "rb") : NULL, *out = count == 3 ? fopen(names[2], "wb") : NULL;
    if (!in || !out) return 2;
    void (*const functions[])(void) = {longlag_multiply, longlag_pack, longlag_stream, longlag_outer,
                                       (void (*)(void))gemm};
    const int64_t n_tensors = number(in), n_fields = number(in);
    char **tensors = calloc((size_t)n_tensors, sizeof *tensors);
    int64_t *sizes = calloc((size_t)n_tensors, sizeof *sizes), *call = calloc((size_t)n_fields, sizeof *call);
    for (int64_t k = 0; k < n_tensors; k++) {
        sizes[k] = number(in);
        tensors[k] = malloc((size_t)sizes[k]);
        if (fread(tensors[k], 1, (size_t)sizes[k], in) != (size_t)sizes[k]) return 2;
    }
    for (int64_t k = 0; k < n_fields; k++) {
        const int64_t kind = number(in), value = number(in), offset = number(in);
        if (kind == NUMBER) call[k] = value;
        else if (kind == TENSOR) call[k] = (int64_t)(intptr_t)(tensors[value] + offset);
        else if (kind == FUNCTION) call[k] = (int64_t)(intptr_t)functions[value];
        else call[k] = longlag_panel();
    }
    if (longlag_call_size() != n_fields * 8) return 3;
    if (longlag_forward(call) || longlag_backward(call)) return 4;
    for (int64_t k = 0; k < n_tensors; k++) fwrite(tensors[k], 1, (size_t)sizes[k], out);
    return fclose(out) ? 5 : 0;
}
