"""The antisymmetric network: a recurrence seen as a stable differential equation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.kernels import Gate, Layout, Named, Weights
from longlag.kernels.skew import Damped, composed
from longlag.options import Options


class AntisymmetricRNNOptions(Options):
    step_size: float = Field(default=0.01, gt=0)
    diffusion: float = Field(default=0.01, ge=0)
    gated: bool = False
    recurrent_std: float = Field(default=1.0, ge=0)


class AntisymmetricRNN(GatedCell[AntisymmetricRNNOptions]):
    """AntisymmetricRNN: Chang, Chen, Haber and Chi (2019), arXiv 1902.09689.

    M = A - A^T - diffusion * 1
    h_t = h_{t-1} + step_size * tanh(M h_{t-1} + V x_t + b)
    h_t = h_{t-1} + step_size * sigmoid(M h_{t-1} + V_z x_t + b_z) * tanh(M h_{t-1} + V x_t + b)    with ``gated``

    Shapes: the part of A above its diagonal ``[H (H - 1) / 2]`` (``skew``), V ``[H, I]``, b ``[H]``; H (H - 1) / 2 +
    H (I + 1) parameters, H (I + 1) more for the gate, which shares M. That A is triangular follows from the 10k
    parameters of the paper's 128 units.

    Differs from `RNN` in being a forward Euler step: the Jacobian of the flow has imaginary eigenvalues but for the
    diffusion, so that h neither fades nor explodes for small steps. M is not orthogonal, so nothing is `constrained`.

    Initialisation: A ~ N(0, recurrent_std^2 / H), V ~ N(0, 1/I), b = 0, b_z = 1 (recalled, and as re-implementations
    do it). The paper searches step_size and diffusion; 0.01 is a re-implementation's default for both.
    """

    def __init__(self, options: AntisymmetricRNNOptions | None = None) -> None:
        super().__init__(options)
        shared = (Gate("m", inputs=False, bias=False), Gate("a", sources=()), Gate("z", sources=()))
        self.gates = shared if self.options.gated else (Gate("a"),)

    @property
    def formula(self) -> str:
        return f"H*(H - 1)//2 + {2 if self.options.gated else 1}*H*(I + 1)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        gated = self.options.gated
        new = torch.sigmoid(g.m + g.z) * torch.tanh(g.m + g.a) if gated else torch.tanh(g.a)
        return {"h": s.h + self.options.step_size * new}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        rows = len(Layout.of(self).inputs) * hidden_size
        return {
            "weight_ih": (rows, input_size),
            "skew": (hidden_size * (hidden_size - 1) // 2,),
            "bias": (rows,),
        }

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs = parameters["weight_ih"]
        inputs.normal_(0, 1 / math.sqrt(inputs.shape[1]), generator=generator)
        std = self.options.recurrent_std / math.sqrt(hidden_size)
        parameters["skew"].normal_(0, std, generator=generator)
        parameters["bias"].zero_()[hidden_size:] = 1

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        size = len(parameters["bias"]) // len(Layout.of(self).biases)
        matrix = composed(Damped(self.options.diffusion), parameters["skew"], size)
        return Weights(parameters["weight_ih"], (), parameters["bias"], None, {}, {"weight_hh": matrix})
