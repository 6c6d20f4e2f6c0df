"""Networks of oscillators: coupled and damped (coRNN), or uncoupled within a layer and undamped (UnICORNN)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from longlag.cells.base import GatedCell
from longlag.cells.initialise import half_lives, refuse_unused, retained
from longlag.kernels import Gate, Named
from longlag.options import Options


class CoRNNOptions(Options):
    dt: float = Field(default=0.06, gt=0)
    gamma: float = Field(default=66.0, ge=0)
    epsilon: float = Field(default=15.0, ge=0)
    half_life: float | None = Field(default=None, ge=1)

    @property
    def fastest(self) -> float:
        """The half-life under critical damping, in steps: no other epsilon gives a shorter one."""
        root = self.dt * math.sqrt(self.gamma)
        return 1.0 if root >= 0.5 else -math.log(2) / math.log1p(-root) if root else math.inf

    @model_validator(mode="after")
    def _is_reached(self) -> Self:
        if self.half_life is None:
            return self
        refuse_unused(self, "epsilon", "with half_life, which sets it")
        if not self.fastest < self.half_life:
            raise ValueError(
                f"half_life is above the {self.fastest:.3g} steps of critical damping, which dt and gamma set, "
                f"got {self.half_life:g}"
            )
        if self.dt**2 * self.gamma >= 2.25:
            raise ValueError(f"half_life needs dt^2 gamma below 2.25, got {self.dt**2 * self.gamma:.3g}")
        return self


class CoRNN(GatedCell[CoRNNOptions]):
    """coRNN: Rusch and Mishra (2021), arXiv 2010.00951: coupled, damped, driven oscillators.

    z_t = z_{t-1} + dt (tanh(W x_t + U_z z_{t-1} + U_y y_{t-1} + b) - gamma y_{t-1} - epsilon z_{t-1})     velocity
    y_t = y_{t-1} + dt z_t                                                                              position, output

    Shapes: W ``[H, I]``, U = [U_y, U_z] ``[H, 2 H]``, b ``[H]``; H (I + 2 H + 1) parameters. States: ``y`` and ``z``.

    Differs from `UnICORNN` in its dense coupling and in its damping; from `RNN` in that the squashed sum is a force on
    the second derivative of what is put out. The equations are those of the authors' code, damping explicit; the paper
    also states a form with the damping of z_t.

    Initialisation as the authors' code: everything U(-1/sqrt(I + 2 H), 1/sqrt(I + 2 H)), torch's; dt, gamma and epsilon
    are constants, by default those of their adding problem (permuted MNIST: 0.076, 0.4 and 8). Without force an
    oscillator is a linear map of determinant 1 - dt epsilon: with these constants its slower mode halves in 2.1 steps
    (permuted MNIST: 182). ``half_life`` = T replaces epsilon by one constant for each unit: its amplitude shrinks by
    sqrt(1 - dt epsilon) = 2^(-1/tau) a step, half-lives tau evenly spaced in the logarithm up to T.
    """

    gates = (Gate("force", sources=("y", "z")),)
    states = ("y", "z")
    outputs = ("y",)
    formula = "H*(I + 2*H + 1)"

    def __init__(self, options: CoRNNOptions | None = None) -> None:
        super().__init__(options)
        self.units = () if self.options.half_life is None else ("epsilon",)

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        o = self.options
        epsilon = o.epsilon if o.half_life is None else p.epsilon
        z = s.z + o.dt * (torch.tanh(g.force) - o.gamma * s.y - epsilon * s.z)
        return {"y": s.y + o.dt * z, "z": z}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in super().shapes(input_size, hidden_size).items() if name != "epsilon"}

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        o = self.options
        if o.half_life is None:
            return {}
        amplitude = retained(half_lives(o.half_life, o.fastest, hidden_size))
        return {"epsilon": ((1 - amplitude.square()) / o.dt).float()}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        bound = (parameters["weight_ih"].shape[1] + 2 * hidden_size) ** -0.5
        for tensor in parameters.values():
            tensor.uniform_(-bound, bound, generator=generator)


class UnICORNNOptions(Options):
    dt: float = Field(default=0.19, gt=0)
    alpha: float = Field(default=30.65, ge=0)


class UnICORNN(GatedCell[UnICORNNOptions]):
    """UnICORNN: Rusch and Mishra (2021), arXiv 2103.05487: undamped oscillators, independent within a layer.

    d = dt sigmoid(c)                                                              a time step of its own for each unit
    z_t = z_{t-1} - d * (tanh(w * y_{t-1} + V x_t + b) + alpha y_{t-1})            velocity
    y_t = y_{t-1} + d * z_t                                                        position, output

    Shapes: V ``[H, I]``, w, b, c ``[H]``; H (I + 3) parameters. States: ``y`` and ``z``. Units mix only from layer to
    layer, so it wants depth of 2 or more.

    Differs from `CoRNN` in that nothing damps it and a unit reads itself alone, like `IndRNN`. A step is a symplectic
    map: of determinant 1 whatever the input, and invertible. The authors' backward pass inverts it step by step to save
    memory, which drifts in float32; here the states are kept (``training.checkpoint_steps`` saves memory).

    Initialisation as the authors' code: V Kaiming-uniform with a = 8, U(-sqrt(6/(65 I)), sqrt(6/(65 I))); b = 0;
    w ~ U(0, 1), c ~ U(-0.1, 0.1). dt and alpha are constants, by default those of permuted MNIST (EigenWorms: alpha 0,
    and a dt for each layer, 2.8e-5 and 0.034, which is one number here). Nothing fades: every half-life is infinite, so
    that there is no option for one; what dt sets is the period, 2 pi / (d sqrt(alpha)) steps or about 12.
    """

    gates = (Gate("force", sources=()),)
    states = ("y", "z")
    outputs = ("y",)
    units = ("w", "c")
    formula = "H*(I + 3)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        step = self.options.dt * torch.sigmoid(p.c)
        z = s.z - step * (torch.tanh(p.w * s.y + g.force) + self.options.alpha * s.y)
        return {"y": s.y + step * z, "z": z}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        nn.init.kaiming_uniform_(parameters["weight_ih"], a=8, generator=generator)
        parameters["bias"].zero_()
        parameters["w"].uniform_(0, 1, generator=generator)
        parameters["c"].uniform_(-0.1, 0.1, generator=generator)
