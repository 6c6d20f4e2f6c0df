"""The closed-form continuous-time network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from longlag.cells.base import GatedCell, rows
from longlag.cells.initialise import glorot, half_lives, retained
from longlag.kernels import Gate, Layout, Named
from longlag.options import Options


class CfCOptions(Options):
    mode: Literal["default", "no_gate", "pure"] = "default"
    backbone: int = Field(default=1, ge=0)
    mixed_memory: bool = False
    half_life: float | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mixed_memory and self.backbone:
            raise ValueError(
                "mixed_memory needs backbone: 0, so that a step has two products after each other, not three"
            )
        if self.half_life is not None and not self.mixed_memory:
            raise ValueError("half_life sets a forget gate: it needs mixed_memory: true and backbone: 0")
        return self


class CfC(GatedCell[CfCOptions]):
    """CfC, closed-form continuous-time: Hasani, Lechner, Amini et al. (2022), arXiv 2106.13898.

    g_t = 1.7159 tanh(0.666 (W x_t + U h_{t-1} + b))                  the backbone
    u_t = tanh(W_1 g_t + b_1),  v_t = tanh(W_2 g_t + b_2)
    tau_t = sigmoid(W_t g_t + b_t)
    h_t = (1 - tau_t) * u_t + tau_t * v_t                             ``mode="default"``
    h_t = u_t + tau_t * v_t                                           ``mode="no_gate"``
    h_t = a - a * exp(-|w| - |u'_t|) * u'_t,  u' = W_1 g_t + b_1      ``mode="pure"``, the solution itself

    ``backbone`` n is its units in multiples of H; with 0 the maps read [x_t, h_{t-1}] in place of g_t. ``mixed_memory``
    puts an LSTM in front: its c_t, made of x_t and h_{t-1}, runs through time, and the maps read [x_t, o * tanh(c_t)].

    Shapes: W ``[n H, I]``, U ``[n H, H]``, the maps ``[H, n H]``, biases alike; n H (I + H + 1) + 3 H (n H + 1)
    parameters; a, w ``[H]``. States: ``h``, and ``c`` with mixed memory.

    Differs from `GRU` in that the gate chooses between two new values: no path carries h_{t-1} itself on.

    Where it differs from the authors' code: time is the number of the step, so that their W_a dt + W_b is one matrix
    W_t, drawn as the sum of two; the backbone has n H units, not 128; mixed memory goes without a backbone, which would
    be a third product in a row. Initialisation as their code does it: matrices Glorot-uniform, those of [x, h] as one;
    biases of a map from m numbers U(-1/sqrt(m), 1/sqrt(m)); a and w, ones and zeros there, are Glorot-uniform too,
    since they are stored as matrices. The LSTM: W as one matrix Glorot-uniform, U orthogonal, biases U(-0.1, 0.1), and
    1 more for the forget gate.

    With 128 units the Jacobian of a step has spectral radius 0.83 to 0.87 at first, a half-life of 4 to 5 steps
    (measured; ``no_gate`` 1.1 to 1.3, ``pure`` 0.1). Nothing sets it but mixed memory, whose c halves in 2.2 steps:
    ``half_life`` = T sets b_f of its forget gate so that half-lives are evenly spaced in the logarithm from 1 to T.
    """

    def __init__(self, options: CfCOptions | None = None) -> None:
        super().__init__(options)
        o = self.options
        maps = ("u",) if o.mode == "pure" else ("u", "v", "tau")
        self.wide = tuple(f"g{k}" for k in range(1, o.backbone + 1))
        if o.mixed_memory:
            self.gates = (*(Gate(name) for name in "ifzo"), *(Gate(name, sources=("m",)) for name in maps))
            self.states, self.intermediates = ("h", "c"), ("m",)
        elif o.backbone:
            self.gates = (*(Gate(n) for n in self.wide), *(Gate(n, inputs=False, sources=self.wide) for n in maps))
            self.intermediates = self.wide
        else:
            self.gates = tuple(Gate(name) for name in maps)
        self.maps = maps
        self.units = ("a", "w") if o.mode == "pure" else ()

    @property
    def formula(self) -> str:
        o, maps = self.options, len(self.maps)
        direct, n = "H*(I + H + 1)", o.backbone
        own = f"{n}*{direct} + {maps}*H*({n}*H + 1)" if n else f"{maps + 4 * o.mixed_memory}*{direct}"
        return f"{own} + 2*H" if o.mode == "pure" else own

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        if self.options.mixed_memory:
            return {"m": torch.sigmoid(g.o) * torch.tanh(self._cell(g, s))}
        return {name: 1.7159 * torch.tanh(0.666 * getattr(g, name)) for name in self.wide}

    @staticmethod
    def _cell(g: Named, s: Named) -> Tensor:
        return torch.sigmoid(g.f) * s.c + torch.sigmoid(g.i) * torch.tanh(g.z)

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        mode = self.options.mode
        if mode == "pure":
            h = p.a - p.a * torch.exp(-p.w.abs() - g.u.abs()) * g.u
        else:
            u, v, tau = torch.tanh(g.u), torch.tanh(g.v), torch.sigmoid(g.tau)
            h = u + tau * v if mode == "no_gate" else (1 - tau) * u + tau * v
        return {"h": h, "c": self._cell(g, s)} if self.options.mixed_memory else {"h": h}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        layout, o = Layout.of(self), self.options
        inputs = parameters["weight_ih"].shape[1]
        bias = {name: rows(layout.biases, parameters["bias"], name) for name in layout.biases}
        direct = self.wide or self.maps  # what reads [x, h]
        out = hidden_size * (o.backbone or 1)
        for name in direct:
            reads = [rows(layout.inputs, parameters["weight_ih"], name)]
            for matrix, product in zip(self._matrices, layout.products, strict=True):
                if name in product.gates:
                    reads.append(rows(product.gates, parameters[matrix], name))
            draw([*reads, bias[name]], inputs + hidden_size, out, generator, twice=name == "tau")
        if self.wide:
            for name in self.maps:
                read = rows(self.maps, parameters["weight_hh_2"], name)
                draw([read, bias[name]], out, hidden_size, generator, twice=name == "tau")
        for name in self.units:
            glorot(parameters[name], 1, hidden_size, generator)
        if o.mixed_memory:
            glorot(parameters["weight_ih"][: 4 * hidden_size], inputs, 4 * hidden_size, generator)
            nn.init.orthogonal_(parameters["weight_hh"], generator=generator)
            parameters["bias"][: 4 * hidden_size].uniform_(-0.1, 0.1, generator=generator)
            if o.half_life is None:
                bias["f"].add_(1)
            else:
                bias["f"].copy_(torch.logit(retained(half_lives(o.half_life, 1, hidden_size))))


def draw(
    tensors: list[Tensor], fan_in: int, fan_out: int, generator: torch.Generator | None, twice: bool = False
) -> None:
    """Matrices Glorot-uniform, vectors U(-1/sqrt(fan_in), 1/sqrt(fan_in)), in place; `twice`: the sum of two draws."""
    for tensor in tensors:
        drawn = torch.zeros_like(tensor)
        for _ in range(1 + twice):
            part = torch.empty_like(tensor)
            if tensor.dim() == 1:
                part.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
            else:
                glorot(part, fan_in, fan_out, generator)
            drawn += part
        tensor.copy_(drawn)
