"""Linear oscillators, forced by the input: LinOSS, without and with damping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import TypeVar

from longlag.cells.initialise import half_lives, refuse_unused, retained
from longlag.cells.readout import Mix, Mixing, linear, uniform
from longlag.cells.rows import SKIPPED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Apply, Axes, Dense, Named, State, StateGradients
from longlag.options import Options


class OscillatorOptions(Options):
    state_size: int = Field(default=64, ge=1)
    half_life: float | None = Field(default=None, gt=0)
    mix: Mix = "glu"

    def retained(self) -> Tensor:
        """What an oscillator keeps in a step, for half-lives from a hundredth of ``half_life`` up to it."""
        assert self.half_life is not None
        return retained(half_lives(self.half_life, self.half_life / 100, self.state_size))


OscillatorOptionsT_co = TypeVar(
    "OscillatorOptionsT_co", bound=OscillatorOptions, default=OscillatorOptions, covariant=True
)


class OscillatorCell(ScanCell[OscillatorOptionsT_co]):
    """P oscillators, their real and imaginary parts as two heads: z is the velocity, x the position."""

    axes = ("n",)
    states: Mapping[str, Axes] = {"z": ("n",), "x": ("n",)}
    inputs: Mapping[str, Axes] = {"u": ("n",)}
    parameters: Mapping[str, Axes] = dict.fromkeys(("keep", "pull", "push", "dt"), ("n",))
    outputs: Mapping[str, Axes] = {"y": ("n",)}
    own = 2
    """Numbers that an oscillator has besides what maps the input to it and from it."""

    @property
    def formula(self) -> str:
        size = self.options.state_size
        return f"{4 * size}*H + {self.own * size} + H + (I != H)*H*(I + 1) + {Mixing.formula(self.options.mix)}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        z = p.keep * s.z - p.pull * s.x + p.push * x.u
        position = s.x + p.dt * z
        return {"z": z, "x": position, "y": position}


class LinOSSOptions(OscillatorOptions):
    method: Literal["im", "imex"] = "imex"

    @model_validator(mode="after")
    def _is_damped(self) -> Self:
        if self.method == "imex":
            refuse_unused(self, "half_life", "with method imex, which loses nothing; d-linoss has damping of its own")
        return self


class LinOSS(OscillatorCell[LinOSSOptions]):
    """LinOSS: Rusch and Rus (2025), "Oscillatory State-Space Models", arXiv 2410.03943.

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    f_t = B u_t                                                      complex, what drives P oscillators
    imex:  z_t = z_{t-1} + dt (f_t - A x_{t-1})
    im:    z_t = (z_{t-1} + dt (f_t - A x_{t-1})) / (1 + dt^2 A)
    x_t = x_{t-1} + dt z_t
    y_t = Re(C x_t) + D * u_t
    h_t = mix(y_t)

    A = relu(a) and dt = sigmoid(log_dt) are real, one of each for an oscillator. So real and imaginary parts of z and x
    never mix. ``method="imex"`` (default) is symplectic: it keeps a volume, and its eigenvalues have modulus 1;
    ``"im"`` takes the force at the end of the step and dissipates. ``mix="glu"`` (default) is the authors' block: GELU,
    then a gated linear unit; ``"half-glu"``, ``"gelu"`` and ``"none"`` as elsewhere.

    Shapes: a, log_dt ``[P]``; B ``[P, H]`` and C ``[H, P]`` complex; D ``[H]``; P = ``state_size``. States: ``z`` and
    ``x [B, 2, P]``, real parts first, and ``h``, the last output. 4 P H + 2 P + H parameters, H (I + 1) more where I
    differs from H, and 2 H (H + 1) for the gated linear unit.

    Differs from `S5` in its real 2 x 2 blocks, which oscillate for every parameter; from `CoRNN` and `UnICORNN` in
    being linear.

    Initialisation, as the authors' code: a and log_dt ~ U(0, 1), so that dt is between 0.5 and 0.73; B ~ U(-1/sqrt(H),
    1/sqrt(H)) and C ~ U(-1/sqrt(P), 1/sqrt(P)) in each part; D ~ N(0, 1). With ``imex`` nothing fades. With ``im`` an
    oscillator keeps 1 / sqrt(1 + dt^2 A) a step and halves in 8 steps at the middle; ``half_life=T`` sets a such that
    they halve in T / 100 to T steps, evenly spaced on a logarithmic scale.
    """

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> LinOSSLayer:
        return LinOSSLayer(self, input_size, hidden_size, generator)


READ = (Dense("read", (("s", "c"),)), Apply(SKIPPED, ("read", "u"), ("y",), ("d",)))


class OscillatorLayer(ScanLayer):
    """Oscillators over time; a subclass draws their own parameters in `draw` and makes the core's in `constants`."""

    cell: OscillatorCell

    def __init__(
        self, cell: OscillatorCell, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        size = cell.options.state_size
        super().__init__(cell, input_size, hidden_size, 2, {"n": size})
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.draw(size, generator)
        bound = 1 / math.sqrt(hidden_size)
        self.b = nn.Parameter(uniform((2, size, hidden_size), -bound, bound, generator))
        bound = 1 / math.sqrt(size)
        self.c = nn.Parameter(uniform((2, hidden_size, size), -bound, bound, generator))
        self.d = nn.Parameter(torch.empty(hidden_size).normal_(0, 1, generator=generator))
        self.mixing = Mixing(cell.options.mix, hidden_size, generator)

    def draw(self, size: int, generator: torch.Generator | None) -> None:
        """Make the parameters of the oscillators themselves."""
        raise NotImplementedError

    def constants(self) -> State:
        """What the core reads at every step, ``[P]``."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        force = (u @ self.b.flatten(0, 1).mT).unflatten(-1, (2, -1))
        parameters = {name: value.expand(2, -1) for name, value in self.constants().items()}
        outputs, final = self.scan({"u": force}, parameters, state, mask, record)
        real, imaginary = self.c.unbind(0)
        weights = {"c": torch.cat([real, -imaginary], 1), "d": self.d.unsqueeze(0)}
        return self.mixing({"s": outputs["y"], "u": u}, READ, weights), final


class LinOSSLayer(OscillatorLayer):
    """`LinOSS` over time."""

    cell: LinOSS

    def draw(self, size: int, generator: torch.Generator | None) -> None:
        options = self.cell.options
        a, log_dt = uniform((size,), 0, 1, generator), uniform((size,), 0, 1, generator)
        if options.half_life is not None:
            a = ((options.retained() ** -2 - 1) / torch.sigmoid(log_dt.double()).square()).float()
        self.a, self.log_dt = nn.Parameter(a), nn.Parameter(log_dt)

    def constants(self) -> State:
        a, dt = torch.relu(self.a), torch.sigmoid(self.log_dt)
        keep = torch.ones_like(dt) if self.cell.options.method == "imex" else 1 / (1 + dt.square() * a)
        return {"keep": keep, "pull": keep * dt * a, "push": keep * dt, "dt": dt}


class DLinOSSOptions(OscillatorOptions):
    r_min: float = Field(default=0.9, gt=0)
    r_max: float = Field(default=1.0, le=1)
    max_phase: float = Field(default=math.pi, gt=0, le=math.pi)

    @model_validator(mode="after")
    def _ring(self) -> Self:
        if self.r_min > self.r_max:
            raise ValueError(f"r_min is at most r_max, got {self.r_min} and {self.r_max}")
        if self.half_life is not None:
            for field in ("r_min", "r_max"):
                refuse_unused(self, field, "with half_life, which sets what it draws")
        return self


class DLinOSS(OscillatorCell[DLinOSSOptions]):
    """D-LinOSS: Boyer, Rusch and Rus (2025), "Learning to dissipate energy in oscillatory state-space models".

    z_t = (z_{t-1} + dt (f_t - A x_{t-1})) / S,    S = 1 + dt G      f_t = B u_t, u_t as in `LinOSS`
    x_t = x_{t-1} + dt z_t
    y_t = Re(C x_t) + D * u_t
    h_t = mix(y_t)

    arXiv 2505.12171. dt = sigmoid(log_dt), G = relu(g), and A is ``a``, held between (sqrt(S) - 1)^2 / dt^2 and
    (sqrt(S) + 1)^2 / dt^2: there the eigenvalues are a complex pair of modulus 1 / sqrt(S).

    Shapes: as `LinOSS`, and g ``[P]``: 4 P H + 3 P + H parameters, H (I + 1) more where I differs from H, and 2 H
    (H + 1) for the gated linear unit. States: ``z`` and ``x [B, 2, P]``, and ``h``, the last output.

    Differs from `LinOSS` in the damping G, which it learns: with G = 0 it is LinOSS with ``method="imex"``.

    Initialisation, as the authors' code: log_dt ~ N(0, 1/4); eigenvalues uniform on the ring r_min <= |lambda| <= r_max
    (0.9 to 1) with phases between 0 and ``max_phase``, from which a and g follow; B, C and D as `LinOSS`. The modulus
    halves in 6.6 steps at 0.9, in 693 at 0.999. ``half_life=T`` sets the modulus in place of that such that oscillators
    halve in T / 100 to T steps, evenly spaced on a logarithmic scale.
    """

    own = 3

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> DLinOSSLayer:
        return DLinOSSLayer(self, input_size, hidden_size, generator)


class DLinOSSLayer(OscillatorLayer):
    """`DLinOSS` over time."""

    cell: DLinOSS

    def draw(self, size: int, generator: torch.Generator | None) -> None:
        options = self.cell.options
        low, high = options.r_min**2, options.r_max**2
        log_dt = torch.empty(size).normal_(0, 0.5, generator=generator)
        square = uniform((size,), low, high, generator).double()
        phase = uniform((size,), 0, options.max_phase, generator).double()
        if options.half_life is not None:
            square = options.retained().square()
        dt, s = torch.sigmoid(log_dt.double()), 1 / square
        self.a = nn.Parameter(((1 + s - 2 * s.sqrt() * torch.cos(phase)) / dt.square()).float())
        self.g, self.log_dt = nn.Parameter(((s - 1) / dt).float()), nn.Parameter(log_dt)

    def constants(self) -> State:
        dt = torch.sigmoid(self.log_dt)
        s = 1 + dt * torch.relu(self.g)
        low, high = ((s.sqrt() + sign).square() / dt.square() for sign in (-1, 1))
        a = torch.minimum(torch.maximum(self.a, low), high)
        return {"keep": 1 / s, "pull": dt * a / s, "push": dt / s, "dt": dt}
