"""S5: a state-space layer whose states all read all channels, diagonal and complex."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.readout import Mix, Mixing, linear
from longlag.cells.rows import SKIPPED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.step_sizes import DecayOptions, zero_order_hold
from longlag.kernels import Apply, Axes, Dense, Named, State, StateGradients


class S5Options(DecayOptions):
    state_size: int = Field(default=128, ge=2, multiple_of=2)
    blocks: int = Field(default=4, ge=1)
    clip_eigenvalues: bool = False
    mix: Mix = "half-glu"

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.state_size % (2 * self.blocks):
            raise ValueError(
                f"state_size is a multiple of 2 * blocks, got {self.state_size} states and {self.blocks} blocks"
            )
        return self


class S5(ScanCell[S5Options]):
    """S5: Smith, Warrington and Linderman (2023), "Simplified State Space Layers", arXiv 2208.04933.

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    s_t = exp(dt A) * s_{t-1} + (exp(dt A) - 1) / A * (B u_t)        complex, N/2 states, zero-order hold
    y_t = 2 Re(C s_t) + D * u_t
    h_t = mix(y_t)

    The N states of the paper come in conjugate pairs, of which one half is kept: hence the 2. Every state has a step
    size dt of its own. ``mix="half-glu"`` (default) is the layer of the authors' code: v = gelu(y), v * sigmoid(W v +
    b); ``"glu"``, ``"gelu"`` and ``"none"`` as elsewhere.

    Shapes: A, B, C complex, ``[N/2]``, ``[N/2, H]`` and ``[H, N/2]``; log_dt ``[N/2]``, D ``[H]``; N = ``state_size``.
    States: ``re`` and ``im`` of s ``[B, 1, N/2]``, and ``h``, the last output. 2 N H + 3 N / 2 + H parameters, H
    (I + 1) more where I differs from H, and H (H + 1) for the half gated linear unit.

    Differs from `S4D` in that states are no channel's own, so that there are as few as one wants, at the price of dense
    products before and after the recurrence; from `LRU` in being a discretised continuous system, and in its
    initialisation.

    Initialisation, as the authors' code: A has the eigenvalues of ``blocks`` J times the normal part of HiPPO-LegS with
    N/J states, real parts -1/2, V its eigenvectors; dt log-uniform between ``dt_min`` and ``dt_max``, so that a state
    halves in 1.39 / dt steps, 14 to 1386; B = V^H B' and C = C' V, B' ~ N(0, 1/N), C' ~ N(0, 1/N) in each part, D ~
    N(0, 1). ``half_life=T`` sets dt in place of that such that states halve in T / 100 to T steps, evenly spaced on a
    logarithmic scale. The code trains the real parts themselves, which may become positive; ``clip_eigenvalues`` keeps
    them below -1e-4, which the code has as well and recommends for long sequences, and leaves off. Where the default
    differs: N = 128 in 4 blocks in place of 256 in 8, the normal distributions are not truncated, and A and dt have no
    smaller learning rate of their own.
    """

    axes = ("n",)
    states: Mapping[str, Axes] = {"re": ("n",), "im": ("n",)}
    inputs: Mapping[str, Axes] = {"u_re": ("n",), "u_im": ("n",)}
    parameters: Mapping[str, Axes] = {"a_re": ("n",), "a_im": ("n",)}
    outputs: Mapping[str, Axes] = {"y_re": ("n",), "y_im": ("n",)}

    @property
    def formula(self) -> str:
        size = self.options.state_size
        return f"{2 * size}*H + {3 * size // 2} + H + (I != H)*H*(I + 1) + {Mixing.formula(self.options.mix)}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        re = p.a_re * s.re - p.a_im * s.im + x.u_re
        im = p.a_re * s.im + p.a_im * s.re + x.u_im
        return {"re": re, "im": im, "y_re": re, "y_im": im}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> S5Layer:
        return S5Layer(self, input_size, hidden_size, generator)


def hippo_pairs(size: int) -> tuple[Tensor, Tensor]:
    """Of the normal part of HiPPO-LegS: the imaginary parts of its eigenvalues above 0, and those eigenvectors.

    The normal part is -1/2 and a skew-symmetric matrix, -sqrt((n + 1/2)(k + 1/2)) below the diagonal. Eigenvectors
    are columns of length 1, their first number real and positive.
    """
    root = torch.sqrt(torch.arange(size, dtype=torch.float64) + 0.5)
    product = torch.outer(root, root)
    skew = product.triu(1) - product.tril(-1)
    imaginary, vectors = torch.linalg.eigh(-1j * skew)
    imaginary, vectors = imaginary[size // 2 :], vectors[:, size // 2 :]
    return imaginary, vectors * (vectors[0].abs() / vectors[0])


READ = (Dense("read", (("re", "c_re"), ("im", "c_im"))), Apply(SKIPPED, ("read", "u"), ("y",), ("d",)))


class S5Layer(ScanLayer):
    """`S5` over time."""

    cell: S5

    def __init__(self, cell: S5, input_size: int, hidden_size: int, generator: torch.Generator | None) -> None:
        options, size = cell.options, cell.options.state_size
        super().__init__(cell, input_size, hidden_size, 1, {"n": size // 2})
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        imaginary, vectors = hippo_pairs(size // options.blocks)
        self.a_re = nn.Parameter(torch.full((size // 2,), -0.5))
        self.a_im = nn.Parameter(imaginary.float().repeat(options.blocks))
        log_dt = options.draw_log_dt(size // 2, generator)
        if options.half_life is not None:
            log_dt = options.halving(torch.full((size // 2,), 0.5)).log()
        self.log_dt = nn.Parameter(log_dt)
        b = torch.empty(options.blocks, size // options.blocks, hidden_size).normal_(generator=generator)
        c = torch.empty(2, hidden_size, options.blocks, size // options.blocks).normal_(generator=generator)
        b, c = (tensor.double() / math.sqrt(size) for tensor in (b, c))
        self.b = nn.Parameter(parts((vectors.mH @ b.to(vectors.dtype)).flatten(0, 1)))
        self.c = nn.Parameter(parts((torch.complex(*c.unbind(0)) @ vectors).flatten(1)))
        self.d = nn.Parameter(torch.empty(hidden_size).normal_(0, 1, generator=generator))
        self.mixing = Mixing(options.mix, hidden_size, generator)

    def discrete(self) -> tuple[State, Tensor, Tensor]:
        """What the core reads at every step, and the real and imaginary part of what makes its input of u."""
        a_re = self.a_re.clamp(max=-1e-4) if self.cell.options.clip_eigenvalues else self.a_re
        values = zero_order_hold(self.log_dt, a_re, self.a_im)
        decay_re, decay_im, hold_re, hold_im = (value.to(self.d.dtype) for value in values)
        b_re, b_im = self.b.unbind(0)
        hold_re, hold_im = hold_re.unsqueeze(1), hold_im.unsqueeze(1)
        own = {"a_re": decay_re.unsqueeze(0), "a_im": decay_im.unsqueeze(0)}
        return own, hold_re * b_re - hold_im * b_im, hold_re * b_im + hold_im * b_re

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        parameters, b_re, b_im = self.discrete()
        inputs = {"u_re": F.linear(u, b_re).unsqueeze(2), "u_im": F.linear(u, b_im).unsqueeze(2)}
        outputs, final = self.scan(inputs, parameters, state, mask, record)
        c_re, c_im = (2 * self.c).unbind(0)
        weights = {"c_re": c_re, "c_im": -c_im, "d": self.d.unsqueeze(0)}
        return self.mixing({"re": outputs["y_re"], "im": outputs["y_im"], "u": u}, READ, weights), final


def parts(values: Tensor) -> Tensor:
    """Real and imaginary parts, one behind the other, in float32."""
    return torch.stack([values.real, values.imag]).float()
