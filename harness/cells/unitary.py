"""The unitary evolution network: a complex recurrence whose matrix is a product of simple unitary ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from harness.cells.base import GatedCell
from harness.cells.initialise import glorot
from harness.kernels import Gate, Weights


class URNN(GatedCell):
    """uRNN: Arjovsky, Shah and Bengio (2016), arXiv 1511.06464, as their code does it.

    W = D_3 R_2 F^{-1} D_2 P R_1 F D_1              unitary, H x H complex
    a_t = W h_{t-1} + V x_t                         h and a complex, x real
    h_t = a_t relu(|a_t| + b) / (|a_t| + 1e-5)      modReLU

    D_k = diag(exp(i theta_k)); R_k = 1 - 2 v_k v_k^* / |v_k|^2, a reflection; F the unitary Fourier transform; P a
    fixed random permutation. H counts complex units: the states re and im have ``[B, H]`` each, the output is both,
    ``[B, 2 H]``. W is composed once per forward call, as the real ``[2 H, 2 H]`` matrix [[Re, -Im], [Im, Re]].

    Shapes: V ``[2 H, I]``, theta ``[3, H]``, reflection ``[2, 2 H]`` (real parts, then imaginary parts), b ``[H]``
    (``offset``); 2 H I + 8 H parameters, and 2 H for the learned initial state. With the 2 H x 9 readout and its
    biases, 128 units and one-hot inputs of 10 symbols: the 6153 of the authors' copy memory.

    Differs from `ExpRNN` and `ScoRNN` in being complex and in reaching only part of the unitary matrices, with O(H)
    parameters. Initialisation: theta ~ U(-pi, pi); V Glorot; reflections Glorot as a 2 x 2 H matrix; b ~
    U(-0.01, 0.01); the initial state is learned, ~ U(-sqrt(3/(2H)), sqrt(3/(2H))). The 1e-30 under the root keeps the
    gradient finite where a = 0.
    """

    gates = (Gate("re", sources=("re", "im"), bias=False), Gate("im", sources=("re", "im"), bias=False))
    states = ("re", "im")
    outputs = ("re", "im")
    units = ("offset",)
    learned_state = True
    constrained = ("theta", "reflection")
    formula = "2*H*I + 8*H"

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        modulus = torch.sqrt(g.re * g.re + g.im * g.im + 1e-30)
        scale = torch.relu(modulus + p.offset) / (modulus + 1e-5)
        return {"re": g.re * scale, "im": g.im * scale}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {
            "weight_ih": (2 * hidden_size, input_size),
            "theta": (3, hidden_size),
            "reflection": (2, 2 * hidden_size),
            "offset": (hidden_size,),
        }

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs = parameters["weight_ih"]
        glorot(inputs, inputs.shape[1], 2 * hidden_size, generator)
        parameters["theta"].uniform_(-math.pi, math.pi, generator=generator)
        glorot(parameters["reflection"], 2, 2 * hidden_size, generator)
        parameters["offset"].uniform_(-0.01, 0.01, generator=generator)

    def initialise_state(
        self, state: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None
    ) -> None:
        bound = math.sqrt(3 / (2 * hidden_size))
        for tensor in state.values():
            tensor.uniform_(-bound, bound, generator=generator)

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"permutation": torch.randperm(hidden_size, generator=generator)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        # in double precision: it costs little, and seven factors lose digits that the gradient of a reflection needs
        theta, reflection = parameters["theta"].double(), parameters["reflection"].double()
        matrix = compose(theta, reflection, parameters["permutation"])
        real = torch.cat([torch.cat([matrix.real, -matrix.imag], 1), torch.cat([matrix.imag, matrix.real], 1)])
        weight_hh = real.to(parameters["theta"].dtype)
        return Weights(parameters["weight_ih"], (weight_hh,), None, None, {"offset": parameters["offset"]})


@lru_cache(maxsize=64)
def fourier(size: int, device: torch.device) -> Tensor:
    """F ``[n, n]`` complex: the unitary Fourier transform as a matrix."""
    one = torch.eye(size, dtype=torch.complex128, device=device)
    result: Tensor = torch.fft.fft(one, dim=0, norm="ortho")
    return result


def compose(theta: Tensor, reflection: Tensor, permutation: Tensor) -> Tensor:
    """W ``[n, n]`` complex from ``theta [3, n]``, ``reflection [2, 2 n]`` and ``permutation [n]``."""
    phases = torch.polar(torch.ones_like(theta), theta).unsqueeze(-1)
    size = theta.shape[1]

    def reflect(matrix: Tensor, k: int) -> Tensor:
        v = torch.complex(reflection[k, :size], reflection[k, size:])
        return matrix - torch.outer(v, v.conj() @ matrix) * (2 / (v.abs().square().sum()))

    matrix = fourier(size, theta.device) * phases[0, :, 0]  # F D_1
    matrix = phases[1] * reflect(matrix, 0)[permutation]
    matrix = torch.fft.ifft(matrix, dim=0, norm="ortho")
    return phases[2] * reflect(matrix, 1)
