"""Diagonal state-space layers: N states for each of H channels, time-invariant (S4D) or input-selective (S6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.base import Cell, GatedCell, GatedLayer
from longlag.cells.readout import Mix, Mixing, Only, ReadoutLayer, linear, scan
from longlag.cells.step_sizes import StepOptions, before_softplus
from longlag.kernels import Gate, Named, State, StateGradients, Weights


class S4DOptions(StepOptions):
    state_size: int = Field(default=64, ge=2, multiple_of=2)
    init: Literal["lin", "inv"] = "lin"
    mix: Mix = "glu"


class S4D(Cell[S4DOptions]):
    """S4D: Gu, Gupta, Goel and Re (2022), "On the parameterization and initialization of diagonal state space models".

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    s_t = exp(dt A) * s_{t-1} + (exp(dt A) - 1) / A * u_t            complex, N/2 states a channel (zero-order hold)
    y_t = 2 Re(sum_n C_n s_{t,n}) + D u_t
    h_t = mix(y_t)

    A = -exp(log_a) + i a_im. The N states of the paper come in conjugate pairs, of which one half is kept: hence
    the 2. ``mix="glu"`` (default) is the layer of the authors' code: GELU, then a gated linear unit over channels;
    ``"gelu"`` and ``"none"`` leave out parts.

    Shapes: log_dt, D ``[H]``; log_a, a_im ``[H, N/2]``; C ``[H, N/2]`` complex; N = ``state_size``. States: ``re`` and
    ``im`` of s ``[B, H N/2]``, and ``h``, the last output. 2 H + 2 H N parameters, H (I + 1) more where I differs from
    H, and 2 H (H + 1) for the gated linear unit.

    Differs from `LRU` in being a discretised continuous system with a learned step size dt, and in that a state reads
    one channel only; from `Selective` in that nothing but the state depends on the input.

    Initialisation: A_n = -1/2 + i pi n (``init="lin"``, S4D-Lin) or -1/2 + i N/pi (N/(2n + 1) - 1) (``"inv"``,
    S4D-Inv), n = 0 ... N/2 - 1; dt log-uniform between ``dt_min`` and ``dt_max``, so that a channel sees about 1/dt
    steps back; B = 1 (trained as part of C); C ~ complex N(0, 1), D ~ N(0, 1). Where the default differs from the
    authors' code: dt, log_a and a_im have no smaller learning rate of their own; no dropout.
    """

    @property
    def formula(self) -> str:
        own = f"2*H + 2*H*{self.options.state_size}"
        return f"{own} + (I != H)*H*(I + 1) + {Mixing.formula(self.options.mix)}"

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> S4DLayer:
        return S4DLayer(self.options, input_size, hidden_size, generator)


class DiagonalRecurrence(GatedCell[S4DOptions]):
    """The recurrence of `S4D` alone, its H * N/2 complex units read from H channels.

    Each unit's part of the read-out, Re(C s), is a state of its own, the only output: reading the complex states
    over time afterwards would take longer than the recurrence.
    """

    gates = (Gate("u", sources=(), bias=False),)
    states = ("re", "im", "y")
    outputs = ("y",)
    units = ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im")

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        re = p.a_re * s.re - p.a_im * s.im + p.b_re * g.u
        im = p.a_re * s.im + p.a_im * s.re + p.b_im * g.u
        return {"re": re, "im": im, "y": p.c_re * re - p.c_im * im}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        pairs = hidden_size // input_size
        return {"log_dt": (input_size,), "log_a": (input_size, pairs), "a_im": (input_size, pairs)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        dtype = parameters["log_dt"].dtype
        wide = torch.promote_types(dtype, torch.float32)  # a phase in bfloat16 is no phase
        log_dt, log_a, a_im = (parameters[name].to(wide) for name in ("log_dt", "log_a", "a_im"))
        dt, a_re = torch.exp(log_dt).unsqueeze(1), -torch.exp(log_a)
        size, phase = dt * a_re, dt * a_im
        # exp(dt A) - 1 without cancellation at small dt
        minus_1 = torch.expm1(size) * torch.cos(phase) - 2 * torch.sin(phase / 2).square()
        rotated = torch.exp(size) * torch.sin(phase)
        square = a_re.square() + a_im.square()
        units = {
            "a_re": minus_1 + 1,
            "a_im": rotated,
            "b_re": (minus_1 * a_re + rotated * a_im) / square,
            "b_im": (rotated * a_re - minus_1 * a_im) / square,
        }
        channels, pairs = log_a.shape
        spread = torch.eye(channels, dtype=dtype, device=log_a.device).repeat_interleave(pairs, 0)
        return Weights(spread, (), None, None, {name: u.flatten().to(dtype) for name, u in units.items()})

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        channels, pairs = parameters["a_im"].shape
        n = torch.arange(pairs, dtype=torch.float64)
        size = 2 * pairs
        imaginary = math.pi * n if self.options.init == "lin" else size / math.pi * (size / (2 * n + 1) - 1)
        parameters["log_dt"].copy_(self.options.draw_log_dt(channels, generator))
        parameters["log_a"].fill_(math.log(0.5))
        parameters["a_im"].copy_(imaginary.expand(channels, pairs))


class S4DLayer(ReadoutLayer):
    """`S4D` over time."""

    def __init__(
        self, options: S4DOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, ("re", "im"))
        pairs = options.state_size // 2
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.scan = GatedLayer(DiagonalRecurrence(options), hidden_size, hidden_size * pairs, generator)
        # complex N(0, 1): half of the variance in each part
        self.c = nn.Parameter(torch.empty(2, hidden_size, pairs).normal_(0, math.sqrt(0.5), generator=generator))
        self.d = nn.Parameter(torch.empty(hidden_size).normal_(0, 1, generator=generator))
        self.mixing = Mixing(options.mix, hidden_size, generator)

    def scan_state(self, batch: int) -> State:
        state = self.scan.initial_state(batch)
        return {name: state[name] for name in ("re", "im")}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        c_re, c_im = (2 * self.c).flatten(1).unbind(0)
        given = {"re": state["re"], "im": state["im"], "y": torch.zeros_like(state["re"])}
        inner = None if record is None else Only(record, ("re", "im"))
        outputs, final = scan(self.scan, u, given, mask, inner, {"c_re": c_re, "c_im": c_im})
        y = outputs.unflatten(-1, self.c.shape[1:]).sum(-1) + self.d * u
        return self.mixing(y), {name: final[name] for name in ("re", "im")}


class SelectiveOptions(StepOptions):
    state_size: int = Field(default=16, ge=1)
    dt_rank: int | None = Field(default=None, ge=1)
    mix: Mix | Literal["silu-gate"] = "silu-gate"


class Selective(Cell[SelectiveOptions]):
    """The selective state-space layer (S6) of Mamba: Gu and Dao (2023), arXiv 2312.00752.

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    [r_t, B_t, C_t] = W u_t                                          R, N and N numbers
    dt_t = softplus(W_dt r_t + b_dt)                                 a step size for each channel
    s_t = exp(dt_t A) * s_{t-1} + dt_t * u_t * B_t                   N states a channel, A = -exp(log_a)
    y_t = sum_n C_{t,n} s_{t,n} + D * u_t

    ``mix="silu-gate"`` (default) is Mamba's: h_t = W_o (y_t * silu(W_z u_t)); ``"glu"`` is the S4 architecture's
    ("no gate" in the paper's Table 1: GELU and a gated linear unit); ``"gelu"``, ``"none"``.

    Shapes: W ``[R + 2 N, H]``, W_dt ``[H, R]``, b_dt, D ``[H]``, log_a ``[H, N]``, W_z, W_o ``[H, H]``; N =
    ``state_size``; R = ``dt_rank``, by default H / 16 rounded up. States: ``s [B, H N]``, and ``h``, the last output.
    H (R + 2 N) + H R + 2 H + H N parameters, H (I + 1) more where I differs from H, and 2 H^2 for the SiLU gate or
    2 H (H + 1) for the gated linear unit.

    Differs from `S4D` in that dt, B and C depend on the input, so that the layer can keep or overlook a step by what
    it holds, and in real states; from `MinGRU` in having N states a channel with one gate, dt, between them.

    Initialisation, as the authors' code: A_n = -n, n = 1 ... N; W_dt ~ U(-1/sqrt(R), 1/sqrt(R)); b_dt such that
    softplus(b_dt) is log-uniform between ``dt_min`` and ``dt_max``; D = 1; the others torch's own. Where the default
    differs from the Mamba block: no short convolution in front, no expansion of the channels by 2.
    """

    @property
    def formula(self) -> str:
        n = self.options.state_size
        rank = self.options.dt_rank or "((H + 15)//16)"
        kind = self.options.mix
        mixing = "2*H*H" if kind == "silu-gate" else Mixing.formula(kind)
        return f"H*({rank} + 2*{n}) + H*{rank} + 2*H + H*{n} + (I != H)*H*(I + 1) + {mixing}"

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> SelectiveLayer:
        return SelectiveLayer(self.options, input_size, hidden_size, generator)


class DecayRecurrence(GatedCell):
    """s_t = exp(decay_t) * s_{t-1} + input_t, both given: the input product is the identity.

    Every channel is an example of its own, with N units: that keeps the identity small.
    """

    gates = (Gate("decay", sources=(), bias=False), Gate("input", sources=(), bias=False))
    states = ("s",)
    outputs = ("s",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"s": torch.exp(g.decay) * s.s + g.input}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {"log_a": (self.channels, hidden_size)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        log_a = parameters["log_a"]
        return Weights(torch.eye(2 * log_a.shape[1], dtype=log_a.dtype, device=log_a.device), (), None, None, {})

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        n = torch.arange(1, hidden_size + 1, dtype=torch.float64)
        parameters["log_a"].copy_(torch.log(n).expand(self.channels, hidden_size))


class SelectiveLayer(ReadoutLayer):
    """`Selective` over time."""

    def __init__(
        self, options: SelectiveOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, ("s",))
        size, rank = options.state_size, options.dt_rank or math.ceil(hidden_size / 16)
        self.sizes = (rank, size, size)
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.select = linear(hidden_size, sum(self.sizes), generator, bias=False)
        self.to_dt = linear(rank, hidden_size, generator)
        dt = torch.exp(options.draw_log_dt(hidden_size, generator)).clamp(min=1e-4)
        with torch.no_grad():
            self.to_dt.bias.copy_(before_softplus(dt))
        self.scan = GatedLayer(DecayRecurrence(hidden_size), 2 * size, size, generator)
        self.d = nn.Parameter(torch.ones(hidden_size))
        kind = options.mix
        self.gated = kind == "silu-gate"
        if kind == "silu-gate":
            self.gate = linear(hidden_size, hidden_size, generator, bias=False)
            self.out = linear(hidden_size, hidden_size, generator, bias=False)
        else:
            self.mixing = Mixing(kind, hidden_size, generator)

    def scan_state(self, batch: int) -> State:
        return {"s": self.d.new_zeros(batch, self.hidden_size * self.sizes[1])}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        steps, batch, channels = u.shape
        low, b, c = self.select(u).split(self.sizes, -1)
        dt = F.softplus(self.to_dt(low)).unsqueeze(-1)
        log_a = self.scan.log_a
        assert isinstance(log_a, Tensor)
        decay = -torch.exp(log_a) * dt  # [T, B, H, N]
        given = torch.cat([decay, dt * u.unsqueeze(-1) * b.unsqueeze(2)], -1).flatten(1, 2)
        inner = None if record is None else StateGradients()
        if record is not None and inner is not None:
            record.allocate(("s",), steps, batch)
            if given.requires_grad:
                given.register_hook(lambda _: self._gather(record, inner, channels))
        folded = {"s": state["s"].reshape(batch * channels, -1)}
        rows = None if mask is None else mask.repeat_interleave(channels, 1)
        states, final = self.scan(given, folded, rows, inner)
        y = (states.unflatten(1, (batch, channels)) @ c.unsqueeze(-1)).squeeze(-1) + self.d * u
        y = self.out(y * F.silu(self.gate(u))) if self.gated else self.mixing(y)
        return y, {"s": final["s"].reshape(batch, -1)}

    @staticmethod
    def _gather(record: StateGradients, inner: StateGradients, channels: int) -> None:
        """The input's gradient is there, so the loop has run backward: sum its squares over the channels."""
        record.of("s").copy_(inner.of("s").unflatten(1, (-1, channels)).sum(-1))
