"""Mamba-2, whose every head keeps a matrix by one number a step, and what it shares with Mamba-3."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypeVar

from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.parts import RMSNorm, Share
from longlag.cells.readout import linear, uniform
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.step_sizes import DecayOptions, before_softplus
from longlag.kernels import Axes, Named, State, StateGradients, columns


class MambaOptions(DecayOptions):
    heads: int = Field(default=4, ge=1)
    expand: float = Field(default=2.0, gt=0)
    state_size: int = Field(default=32, ge=1)


OptionsT_co = TypeVar("OptionsT_co", bound=MambaOptions, default=MambaOptions, covariant=True)


class MambaCell(ScanCell[OptionsT_co]):
    """Heads of d_v values under N keys that all heads share, read with a direct path D from the values."""

    axes = ("v", "k")
    parameters: Mapping[str, Axes] = {"D": ()}

    @property
    def share(self) -> Share:
        """What a head has of the channels."""
        return Share(self.options.expand, self.options.heads)

    @property
    def wide(self) -> str:
        """E = n d_v as an expression in H."""
        return f"{self.options.heads}*{self.share.formula}"


class MambaLayer(ScanLayer):
    """Such a cell over time, with the map to H channels where the input has others."""

    def __init__(
        self,
        cell: MambaCell,
        input_size: int,
        hidden_size: int,
        generator: torch.Generator | None,
        carried: Mapping[str, tuple[int, ...]],
    ) -> None:
        sizes = {"v": cell.share.of(hidden_size), "k": cell.options.state_size}
        super().__init__(cell, input_size, hidden_size, cell.options.heads, sizes, carried)
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)

    def encoded(self, x: Tensor) -> Tensor:
        """u_t."""
        return x if self.encoder is None else self.encoder(x)


class Mamba2Options(MambaOptions):
    convolution: bool = True
    negative_eigenvalues: bool = False


class Mamba2(MambaCell[Mamba2Options]):
    """Mamba-2: Dao and Gu (2024), "Transformers are SSMs", arXiv 2405.21060.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    z_t = W_z u_t
    v_t, B_t, C_t = conv(W_v u_t), conv(W_B u_t), conv(W_C u_t)       v for each of n heads, B and C for all together
    dt_t = softplus(W_dt u_t + b)                                     a number for each head
    a_t  = exp(-exp(A) dt_t)                                          a number for each head
    S_t = a_t S_{t-1} + dt_t v_t B_t^T                                [d_v, N] for each head
    y_t = S_t C_t + D v_t                                             D a number for each head
    h_t = W_o rmsnorm(y_t * silu(z_t))                                over all heads together, E weights

    conv is a causal convolution of every channel over 4 steps with a bias, SiLU after it; ``convolution=False`` leaves
    SiLU. ``negative_eigenvalues`` takes 2 a_t - 1 in place of a_t (Grazzi et al. 2024, arXiv 2411.12537), between -1
    and 1; what decays slowly then halves in half as many steps.

    Shapes: d_v = ``expand`` H / n rounded up, n = ``heads``, E = n d_v; W_z, W_v ``[E, H]``, W_B, W_C ``[N, H]``, N =
    ``state_size``, W_dt ``[n, H]``, b, A, D ``[n]``, W_o ``[H, E]``. States: ``S [B, n, d_v, N]``, ``window`` (the
    convolution's last 3 inputs) and ``h``, the last output. H (2 E + 2 N + n) + 5 (E + 2 N) + 3 n + E + E H parameters,
    H (I + 1) more where I differs from H; 5 (E + 2 N) less without ``convolution``.

    Differs from `GLA` in that one number decays a whole matrix and dt scales what is written as well, and in keys (B)
    and queries (C) that all heads share; from `Selective` in that all channels of a head decay alike.

    Initialisation, as the authors' code: exp(A) ~ U(1, 16), softplus(b) log-uniform between ``dt_min`` and ``dt_max``,
    so that a head halves what it holds in 0.4 to 693 steps, typically in 9; D = 1; the others torch's own.
    ``half_life=T`` sets b in place of that such that the heads halve in T / 100 to T steps, evenly spaced on a
    logarithmic scale, where W_dt u_t is 0. Where the default differs: 4 heads and N = 32 in place of heads of 64 and
    N = 128, for H of some hundred. The gate comes before the norm, as in the code.
    """

    inputs: Mapping[str, Axes] = {"v": ("v",), "B": ("k",), "C": ("k",), "dt": (), "a": ()}

    @property
    def formula(self) -> str:
        n, size, wide = self.options.heads, self.options.state_size, self.wide
        convolution = f" + 5*({wide} + {2 * size})" if self.options.convolution else ""
        return f"H*(3*{wide} + {2 * size + n}) + {3 * n} + {wide} + (I != H)*H*(I + 1)" + convolution

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = x.a * s.S + x.dt * x.v * x.B
        return {"S": S, "y": self.sum(S * x.C, "k") + p.D * x.v}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> Mamba2Layer:
        return Mamba2Layer(self, input_size, hidden_size, generator)


class Mamba2Layer(MambaLayer):
    """`Mamba2` over time."""

    cell: Mamba2

    def __init__(
        self, cell: Mamba2, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options = cell.options
        n, size, values = options.heads, options.state_size, cell.share.of(hidden_size)
        wide, mixed = n * values, n * values + 2 * size
        carried = {"window": (WIDTH - 1, mixed)} if options.convolution else {}
        super().__init__(cell, input_size, hidden_size, generator, carried)
        self.widths = (wide, mixed, n)
        self.project = linear(hidden_size, sum(self.widths), generator, bias=False)
        self.convolution = ShortConvolution(mixed, generator, bias=True) if options.convolution else None
        rate = uniform((n,), 1, 16, generator)
        self.log_rate = nn.Parameter(rate.log())
        dt = options.draw_dt(rate, generator, options.negative_eigenvalues)
        self.dt_bias = nn.Parameter(before_softplus(dt))
        self.d = nn.Parameter(torch.ones(n))
        self.norm = RMSNorm(wide)
        self.out = linear(wide, hidden_size, generator, bias=False)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        z, mixed, dt = columns(self.project(self.encoded(x)), self.widths)
        mixed, carried = convolve(self.convolution, mixed, state, mask)
        mixed = mixed if self.convolution is not None else F.silu(mixed)
        size = self.sizes["k"]
        v, *shared = columns(mixed, [self.widths[0], size, size])
        b, c = (part.unsqueeze(2).expand(-1, -1, self.heads, -1) for part in shared)
        dt = F.softplus(dt + self.dt_bias)
        a = torch.exp(-torch.exp(self.log_rate) * dt)
        a = 2 * a - 1 if self.cell.options.negative_eigenvalues else a
        inputs = {"v": v.unflatten(-1, (self.heads, -1)), "B": b, "C": c, "dt": dt, "a": a}
        outputs, final = self.scan(inputs, {"D": self.d}, state, mask, record)
        return self.out(self.norm(outputs["y"].flatten(-2), z, gate_first=True)), {**final, **carried}
