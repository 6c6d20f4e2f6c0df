"""The matrix-product bound: the products of a cell's training step, in C, and nothing else."""

from __future__ import annotations

import ctypes
from functools import cache

import torch

from longlag.kernels import Layout, Recurrence
from longlag.kernels.targets.c import blas, build

SOURCE = """
typedef void (*gemm_t)(const char *, const char *, const int *, const int *, const int *, const float *, const float *,
                       const int *, const float *, const int *, const float *, float *, const int *);
static void gemm(gemm_t f, char a, char b, int m, int n, int k, const float *A, int la, const float *B, int lb,
                 float *C, int lc) {
    const float one = 1;
    f(&a, &b, &m, &n, &k, &one, A, &la, B, &lb, &one, C, &lc);
}
/* rows of 512, as the compiled loop: sums of weight gradients while the gradients are in the cache */
void products(gemm_t f, int T, int B, int H, int I, int inputs, int terms, const int *gates, int W, const float *x,
              const float *state, const float *weight, float *pre, float *sum) {
    int K = (512 + B - 1) / B;
    for (int t = 0; t < T; t++)
        for (int k = 0; k < terms; k++) gemm(f, 'T', 'N', gates[k] * H, B, H, weight, H, state, H, pre, W);
    for (int t = 0; t < T; t += K) {
        int steps = T - t < K ? T - t : K;
        for (int s = 0; s < steps; s++)
            for (int k = 0; k < terms; k++) gemm(f, 'N', 'N', H, B, gates[k] * H, weight, H, pre, W, sum, H);
        for (int k = 0; k < terms; k++)
            gemm(f, 'N', 'T', gates[k] * H, H, steps * B, pre, W, state, H, sum, gates[k] * H);
        if (inputs) {
            gemm(f, 'T', 'N', inputs * H, steps * B, I, weight, I, x, I, pre, W);
            gemm(f, 'N', 'T', inputs * H, I, steps * B, pre, W, x, I, sum, inputs * H);
        }
    }
}
"""


@cache
def library() -> ctypes.CDLL:
    return build.load(SOURCE)


class Products:
    """Call it to run every matrix product of one training step of `cell`, on one thread, on zeros.

    The input needs no gradient, as in the first layer.
    """

    def __init__(self, cell: Recurrence, steps: int, batch: int, hidden: int, inputs: int) -> None:
        layout = Layout.of(cell)
        gates = [len(product.gates) for product in layout.products for _ in product.sources]
        self.empty = not gates
        found = blas.find()
        assert found is not None
        width = max(sum(gates), len(layout.inputs), 1) * hidden
        rows = max(512 + batch, batch)
        size = width * max(hidden, inputs)
        buffers = [
            torch.zeros(n) for n in (rows * inputs, rows * hidden, size, rows * width, max(size, batch * hidden))
        ]
        self.keep = buffers
        self.arguments = (
            ctypes.c_void_p(found.gemm["float"]),
            *map(ctypes.c_int, (steps, batch, hidden, inputs, len(layout.inputs), len(gates))),
            (ctypes.c_int * max(1, len(gates)))(*gates),
            ctypes.c_int(width),
            *(ctypes.c_void_p(buffer.data_ptr()) for buffer in buffers),
        )

    def __call__(self) -> None:
        library().products(*self.arguments)
