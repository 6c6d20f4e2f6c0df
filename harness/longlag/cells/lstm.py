"""The long short-term memory as one family: switches for its parts, presets in `longlag.cells.lstm_presets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import TypeVar

from longlag.cells.base import GatedCell
from longlag.cells.initialise import Init, chrono, draw, refuse_unused, spread
from longlag.errors import UserError
from longlag.kernels import Gate, Layout, Named, Weights
from longlag.options import Options

Squashing = Literal["tanh", "linear", "logistic2", "logistic1"]

SQUASHING: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "linear": lambda a: a,
    "logistic2": lambda a: 4 * torch.sigmoid(a) - 2,
    "logistic1": lambda a: 2 * torch.sigmoid(a) - 1,
}
"""``logistic2`` and ``logistic1`` are g and h of 1997: logistic, scaled to [-2, 2] and [-1, 1]."""

Bias = float | tuple[float, ...]


class LSTMOptions(Options):
    input_gate: bool = True
    forget_gate: Literal["own", "coupled", "none"] = "own"
    output_gate: bool = True
    peepholes: bool = False
    input_activation: Squashing = "tanh"
    output_activation: Squashing = "tanh"
    gate_recurrence: Literal["none", "gates", "all"] = "none"
    block_size: int = Field(default=1, ge=1)
    truncated: bool = False
    init: Init = "uniform"
    bound: float | None = Field(default=None, gt=0)
    std: float = Field(default=0.1, gt=0)
    forget_bias: Bias | None = 1.0
    input_bias: Bias | None = None
    output_bias: Bias | None = None
    chrono_max: float | None = Field(default=None, gt=2)

    @model_validator(mode="after")
    def _check(self) -> LSTMOptions:
        if self.forget_gate == "coupled" and not self.input_gate:
            raise ValueError("forget_gate 'coupled' is 1 minus the input gate: it needs input_gate")
        if self.forget_gate != "own":
            refuse_unused(self, "forget_bias", "without a forget gate of its own")
        if self.forget_gate == "none":
            refuse_unused(self, "chrono_max", "without a forget gate")
        if not self.input_gate:
            refuse_unused(self, "input_bias", "without an input gate")
        if not self.output_gate:
            refuse_unused(self, "output_bias", "without an output gate")
        if self.chrono_max is not None:
            refuse_unused(self, "forget_bias", "with chrono_max, which draws that bias")
            refuse_unused(self, "input_bias", "with chrono_max, which draws that bias")
        if self.init != "uniform":
            refuse_unused(self, "bound", "unless init is 'uniform'")
        if self.init != "normal":
            refuse_unused(self, "std", "unless init is 'normal'")
        if self.block_size > 1 and (self.peepholes or self.init == "orthogonal"):
            raise ValueError("block_size above 1 goes with neither peepholes nor init 'orthogonal'")
        return self


LSTMOptionsT_co = TypeVar("LSTMOptionsT_co", bound=LSTMOptions, default=LSTMOptions, covariant=True)


class LSTM(GatedCell[LSTMOptionsT_co]):
    """LSTM with forget gates: Gers, Schmidhuber and Cummins (2000), after Hochreiter and Schmidhuber (1997).

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      input gate
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)      forget gate
    z_t = tanh(W_z x_t + U_z h_{t-1} + b_z)         block input
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)      output gate
    c_t = f_t * c_{t-1} + i_t * z_t                 cell state (the constant error carousel where f = 1)
    h_t = o_t * tanh(c_t)

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order i, f, z, o; 4 H (I + H + 1) parameters.

    Every part can be switched, by options; the named variants (`longlag.cells.lstm_presets`) are other defaults:

    - ``input_gate``, ``output_gate``: false sets i or o to 1 and drops its parameters.
    - ``forget_gate``: ``own``; ``coupled``, f = 1 - i; ``none``, f = 1, the carousel of 1997.
    - ``peepholes`` (Gers and Schmidhuber 2000): + p_i * c_{t-1}, + p_f * c_{t-1} and + p_o * c_t (the *new* state)
      in the gates, p ``[H]``; the block input sees none.
    - ``input_activation``, ``output_activation``: ``tanh``, ``linear``, or the g and h of 1997.
    - ``gate_recurrence``: ``gates``, every gate also reads all gates of the step before (Greff's FGR); ``all``, the
      block input does so too (the fully connected hidden layer of 1997). Initially those gates are 0.
    - ``block_size``: S cells share their gates, a memory block; H/S units a gate.
    - ``truncated``: the gradient of 1997: errors leave a cell through its output only; nothing flows back through
      h_{t-1}, gates or peepholes, so c alone carries errors through time.

    Differs from ``torch.nn.LSTM`` in having one bias where torch adds two. Initialisation: torch's
    U(-1/sqrt(H), 1/sqrt(H)), or ``bound``, or ``init`` as in `longlag.cells.initialise.draw`; then the forget gate's
    bias is set to ``forget_bias`` (1, Jozefowicz et al. 2015), the others' to ``input_bias`` and ``output_bias`` if
    given; each one number, or numbers for as many equal groups of units. ``chrono_max`` = T_max instead draws
    b_f = log u, u ~ U([1, T_max - 1]), b_i = -b_f (Tallec and Ollivier 2018).
    """

    def __init__(self, options: LSTMOptionsT_co | None = None) -> None:
        super().__init__(options)
        o = self.options
        present = {"i": o.input_gate, "f": o.forget_gate == "own", "z": True, "o": o.output_gate}
        self.sigmoidal = tuple(name for name in "ifo" if present[name])
        self.remembered = self.sigmoidal if o.gate_recurrence != "none" else ()
        hidden = ("h_cut",) if o.truncated else ("h",)
        wide = (*hidden, *self.remembered)
        self.gates = tuple(
            Gate(name, sources=hidden if name == "z" and o.gate_recurrence != "all" else wide)
            for name in "ifzo"
            if present[name]
        )
        self.states = ("h", "c", *(("h_cut",) if o.truncated else ()), *self.remembered)
        self.units = tuple(f"peephole_{name}" for name in self.sigmoidal) if o.peepholes else ()

    @property
    def formula(self) -> str:
        n, o = len(self.sigmoidal), self.options
        gates = "H" if o.block_size == 1 else f"(H//{o.block_size})"
        rows = f"{n + 1}*H" if o.block_size == 1 else f"(H + {n}*{gates})"
        formula = f"{rows}*(I + H + 1)"
        if o.peepholes:
            formula += f" + {n}*H"
        if o.gate_recurrence != "none":
            formula += f" + {n}*{gates}*" + (rows if o.gate_recurrence == "all" else f"{n}*{gates}")
        return formula

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        o = self.options
        cut: Callable[[Tensor], Tensor] = torch.detach if o.truncated else lambda a: a
        gates: dict[str, Tensor] = {}

        def gate(name: str, a: Tensor, c: Tensor) -> Tensor:
            gates[name] = torch.sigmoid(a + getattr(p, f"peephole_{name}") * cut(c) if o.peepholes else a)
            return gates[name]

        new = SQUASHING[o.input_activation](g.z)
        if o.input_gate:
            new = gate("i", g.i, s.c) * new
        if o.forget_gate == "none":
            c = s.c + new
        else:
            forget = gate("f", g.f, s.c) if o.forget_gate == "own" else 1 - gates["i"]
            c = forget * s.c + new
        h = SQUASHING[o.output_activation](c)
        if o.output_gate:
            h = gate("o", g.o, c) * h
        state = {"h": h, "c": c, **{name: cut(gates[name]) for name in self.remembered}}
        return {**state, "h_cut": h.detach()} if o.truncated else state

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        shapes = super().shapes(input_size, hidden_size)
        size = self.options.block_size
        if size == 1:
            return shapes
        if hidden_size % size:
            raise UserError(f"block_size {size} does not divide the {hidden_size} units of the layer")
        layout = Layout.of(self)
        shapes["weight_ih"] = (sum(self._rows(layout.inputs, hidden_size)), input_size)
        shapes["bias"] = (sum(self._rows(layout.biases, hidden_size)),)
        for k, product in enumerate(layout.products):
            columns = hidden_size + (len(product.sources) - 1) * (hidden_size // size)
            shapes["weight_hh" if k == 0 else f"weight_hh_{k + 1}"] = (
                sum(self._rows(product.gates, hidden_size)),
                columns,
            )
        return shapes

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        o = self.options
        draw(parameters, hidden_size, generator, o.init, bound=o.bound, std=o.std)
        names = Layout.of(self).biases
        bias = dict(zip(names, parameters["bias"].split(self._rows(names, hidden_size)), strict=True))
        for name, field in (("i", "input_bias"), ("f", "forget_bias"), ("o", "output_bias")):
            if name in bias and getattr(o, field) is not None:
                spread(bias[name], getattr(o, field), field)
        if o.chrono_max is not None:
            spans = chrono(bias["i" if o.forget_gate == "coupled" else "f"], o.chrono_max, generator)
            for name, value in (("f", spans), ("i", -spans)):
                if name in bias:
                    bias[name].copy_(value)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        weights = super().weights(parameters)
        if self.options.block_size == 1 or weights.weight_ih is None or weights.bias is None:
            return weights
        layout = Layout.of(self)
        return weights._replace(
            weight_ih=self._share(weights.weight_ih, layout.inputs),
            weight_hh=tuple(
                self._share(self._read_once(matrix, len(product.sources)), product.gates)
                for product, matrix in zip(layout.products, weights.weight_hh, strict=True)
            ),
            bias=self._share(weights.bias, layout.biases),
        )

    def _rows(self, names: tuple[str, ...], hidden_size: int) -> list[int]:
        """Rows of each gate in a packed parameter: one a unit, or one a block."""
        return [hidden_size if name == "z" else hidden_size // self.options.block_size for name in names]

    def _share(self, packed: Tensor, names: tuple[str, ...]) -> Tensor:
        """Rows for every unit from rows for every block."""
        size = self.options.block_size
        unit = packed.shape[0] // (size * names.count("z") + len(names) - names.count("z"))
        parts = packed.split([unit * size if name == "z" else unit for name in names])
        repeated = [
            part if name == "z" else part.repeat_interleave(size, 0) for name, part in zip(names, parts, strict=True)
        ]
        return torch.cat(repeated)

    def _read_once(self, matrix: Tensor, sources: int) -> Tensor:
        """Columns for every unit of a gate's state from columns for every block: the first cell of each is read."""
        size = self.options.block_size
        blocks = matrix.shape[1] // (size + sources - 1)
        hidden, gates = matrix.split([blocks * size, blocks * (sources - 1)], 1)
        return torch.cat([hidden, pad(gates.unsqueeze(-1), (0, size - 1)).flatten(1)], 1)
