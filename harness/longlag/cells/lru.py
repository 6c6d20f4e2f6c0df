"""The linear recurrent unit: a diagonal complex recurrence with its eigenvalues inside the unit circle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from longlag.cells.base import Cell, GatedCell, GatedLayer
from longlag.cells.readout import Mix, Mixing, ReadoutLayer
from longlag.kernels import Dense, Gate, Named, State, StateGradients, Weights
from longlag.options import Options


class LRUOptions(Options):
    state_size: int | None = Field(default=None, ge=1)
    r_min: float = Field(default=0.0, ge=0)
    r_max: float = Field(default=1.0, le=1)
    max_phase: float = Field(default=2 * math.pi, gt=0, le=2 * math.pi)
    mix: Mix = "glu"

    @model_validator(mode="after")
    def _ring(self) -> Self:
        if self.r_min >= self.r_max:
            raise ValueError(f"r_min is below r_max, got {self.r_min} and {self.r_max}")
        return self


class LRU(Cell[LRUOptions]):
    """LRU: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu and De (2023), arXiv 2303.06349.

    s_t = lambda * s_{t-1} + exp(gamma) * (B x_t)       complex, N states, diagonal
    y_t = Re(C s_t) + D x_t
    h_t = mix(y_t)

    lambda = exp(-exp(nu) + i exp(theta)), so that |lambda| < 1 whatever the parameters. ``mix="glu"`` (default) is the
    paper's block without its norm and skip (the composition's): GELU, then (W_1 v + b_1) * sigmoid(W_2 v + b_2);
    ``"gelu"`` and ``"none"`` leave out parts. With ``"none"`` the layer is linear.

    Shapes: nu, theta, gamma ``[N]``; B ``[N, I]`` and C ``[H, N]`` complex, D ``[H, I]``; N = ``state_size``, H by
    default. States: ``re`` and ``im`` of s ``[B, N]``, and ``h``, the last output. 3 N + 2 N I + 2 H N + H I
    parameters, and 2 H (H + 1) for the gated linear unit.

    Differs from `S4D` in being discrete from the start (no step size), in that all states read all inputs, and in its
    initialisation; from `Selective` and `MinGRU` in that lambda does not depend on the input.

    Initialisation (Lemma 3.2): lambda uniform on the ring r_min <= |lambda| <= r_max with phases up to ``max_phase``;
    exp(gamma) = sqrt(1 - |lambda|^2), which keeps the states' variance at that of the input, and is then trained;
    B ~ N(0, 1/(2 I)) and C ~ N(0, 1/N) in each part, D ~ N(0, 1/I). Long lags want r_min near 1 (the paper: 0.9, 0.999)
    and a small ``max_phase`` (pi/10 for Path-X). Where the default differs: D is a full matrix, as in the paper's
    equation; its listing has a diagonal one, which needs I = H.
    """

    version = 2

    @property
    def formula(self) -> str:
        size = self.options.state_size or "H"
        return f"{size}*(3 + 2*I + 2*H) + H*I + {Mixing.formula(self.options.mix)}"

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> LRULayer:
        return LRULayer(self.options, input_size, hidden_size, generator)


class RingRecurrence(GatedCell[LRUOptions]):
    """The recurrence of `LRU` alone: s_t = lambda * s_{t-1} + exp(gamma) * (B x_t), as real and imaginary parts."""

    gates = (Gate("re", sources=(), bias=False), Gate("im", sources=(), bias=False))
    states = ("re", "im")
    outputs = ("re", "im")
    units = ("lambda_re", "lambda_im")

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {
            "re": p.lambda_re * s.re - p.lambda_im * s.im + g.re,
            "im": p.lambda_re * s.im + p.lambda_im * s.re + g.im,
        }

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        vectors: dict[str, tuple[int, ...]] = dict.fromkeys(("nu", "theta", "gamma"), (hidden_size,))
        return {**vectors, "weight_ih": (2 * hidden_size, input_size)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        weight = parameters["weight_ih"]
        wide = torch.promote_types(weight.dtype, torch.float32)  # a phase in bfloat16 is no phase
        radius = torch.exp(-torch.exp(parameters["nu"].to(wide)))
        phase = torch.exp(parameters["theta"].to(wide))
        gain = torch.exp(parameters["gamma"]).repeat(2).unsqueeze(1)
        units = {"lambda_re": radius * torch.cos(phase), "lambda_im": radius * torch.sin(phase)}
        return Weights(gain * weight, (), None, None, {name: u.to(weight.dtype) for name, u in units.items()})

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        low, high = self.options.r_min**2, self.options.r_max**2
        margin = 1e-6  # an eigenvalue of exactly 0 or 1 has no finite parameters
        square = torch.empty(hidden_size).uniform_(margin, 1 - margin, generator=generator) * (high - low) + low
        phase = torch.empty(hidden_size).uniform_(margin, 1, generator=generator) * self.options.max_phase
        parameters["nu"].copy_(torch.log(-0.5 * torch.log(square)))
        parameters["theta"].copy_(torch.log(phase))
        parameters["gamma"].copy_(0.5 * torch.log1p(-square))
        weight = parameters["weight_ih"]
        weight.normal_(0, (2 * weight.shape[1]) ** -0.5, generator=generator)


READ = (Dense("y", (("s", "c"), ("x", "d"))),)


class LRULayer(ReadoutLayer):
    """`LRU` over time: the recurrence, its read-out and the mixing."""

    def __init__(
        self, options: LRUOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, ("re", "im"))
        size = options.state_size or hidden_size
        self.scan = GatedLayer(RingRecurrence(options), input_size, size, generator)
        self.c = nn.Parameter(torch.empty(hidden_size, 2 * size).normal_(0, size**-0.5, generator=generator))
        self.d = nn.Parameter(torch.empty(hidden_size, input_size).normal_(0, input_size**-0.5, generator=generator))
        self.mixing = Mixing(options.mix, hidden_size, generator)

    def scan_state(self, batch: int) -> State:
        return self.scan.initial_state(batch)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        states, final = self.scan(x, {name: state[name] for name in ("re", "im")}, mask, record)
        real, imaginary = self.c.chunk(2, 1)
        weights = {"c": torch.cat([real, -imaginary], 1), "d": self.d}
        return self.mixing({"s": states, "x": x}, READ, weights), final
