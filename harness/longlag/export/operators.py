"""Which cells are ONNX operators, and their weights in the operators' order. Knows nothing of the package onnx.

ONNX defines three recurrent operators, ``RNN``, ``LSTM`` (with peepholes, coupled gates) and ``GRU`` (both resets). A
cell of one's own that is one of them says so by ``operator.register(MyCell)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch

import torch
from torch import Tensor

from longlag.cells.base import Cell, GatedLayer, Layer, rows
from longlag.cells.elman import IRNN, NPRNN, RNN
from longlag.cells.gru import GRU
from longlag.cells.lstm import LSTM

OPEN = 100.0
"""Bias that holds a gate open which the cell does not have: the logistic function of it is 1 in float32."""
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "linear": "Affine"}
SQUASHING = {"tanh": ("Tanh", None, None), "linear": ("Affine", 1.0, 0.0), "logistic2": ("ScaledTanh", 2.0, 0.5),
             "logistic1": ("ScaledTanh", 1.0, 0.5)}  # fmt: skip


class NoOperator(Exception):
    """A network that ONNX has no operator for; its text says why."""


@dataclass(frozen=True)
class Operator:
    """One direction of one recurrent operator.

    Args:
        kind: ``RNN``, ``LSTM`` or ``GRU``.
        W: input weights ``[gates * H, I]``, in the operator's order of the gates.
        R: recurrent weights ``[gates * H, H]``.
        B: biases of the inputs and of the recurrence, ``[2 * gates * H]``.
        P: peepholes ``[3 * H]`` (LSTM); None for none.
        activations: by the operator's names.
        alphas: of those activations that have one.
        betas: the same.
        attributes: others of the operator.
        states: the cell's states that are the operator's initial ones, in its order.
    """

    kind: str
    W: Tensor
    R: Tensor
    B: Tensor
    P: Tensor | None = None
    activations: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict)
    states: tuple[str, ...] = ("h",)


def of_layer(layer: Layer) -> Operator:
    """The operator of a layer that reads in one direction.

    Raises:
        NoOperator: when there is none.
    """
    if not isinstance(layer, GatedLayer):
        raise NoOperator(f"ONNX has no operator for {type(layer).__name__}")
    with torch.no_grad():
        return operator(layer.cell, layer)


@singledispatch
def operator(cell: Cell, layer: GatedLayer) -> Operator:
    """The operator of a cell's layer, its weights in place.

    Raises:
        NoOperator: when there is none.
    """
    raise NoOperator(f"ONNX has no operator for the cell {type(cell).__name__}; it has RNN, LSTM and GRU")


def _packed(layer: GatedLayer) -> tuple[Tensor, Tensor, Tensor]:
    """Effective weights of a cell with one recurrent product: W, U and b."""
    weights = layer.weights()
    assert weights.weight_ih is not None and weights.bias is not None
    return weights.weight_ih, weights.weight_hh[0], weights.bias


@operator.register(RNN)
@operator.register(IRNN)
@operator.register(NPRNN)
def _rnn(cell: RNN | IRNN | NPRNN, layer: GatedLayer) -> Operator:
    name = "relu"
    if isinstance(cell, RNN):
        name = cell.options.activation
        if cell.options.leak != 1:
            raise NoOperator("ONNX's RNN has no leaky units (cell.leak below 1)")
    W, R, b = _packed(layer)
    alphas, betas = ((1.0,), (0.0,)) if name == "linear" else ((), ())
    bias = torch.cat([b, torch.zeros_like(b)])
    return Operator("RNN", W, R, bias, activations=(ACTIVATIONS[name],), alphas=alphas, betas=betas)


@operator.register
def _lstm(cell: LSTM, layer: GatedLayer) -> Operator:
    o = cell.options
    if o.gate_recurrence != "none":
        raise NoOperator("ONNX's LSTM has no gates that read gates (cell.gate_recurrence)")
    present = layer.layout.biases

    def ordered(packed: Tensor) -> Tensor:
        """Rows of every gate in ONNX's order; a gate that the cell has not is one without weights, held open."""
        missing = packed.new_full((layer.hidden_size, *packed.shape[1:]), OPEN if packed.dim() == 1 else 0.0)
        return torch.cat([rows(present, packed, name) if name in present else missing for name in "iofz"])

    W, R, b = (ordered(packed) for packed in _packed(layer))
    peepholes = None
    if o.peepholes:
        zero = b.new_zeros(layer.hidden_size)
        peepholes = torch.cat([layer.weights().units.get(f"peephole_{name}", zero) for name in "iof"])
    squashing = [SQUASHING[o.input_activation], SQUASHING[o.output_activation]]
    return Operator(
        "LSTM",
        W,
        R,
        torch.cat([b, torch.zeros_like(b)]),
        peepholes,
        activations=("Sigmoid", *(name for name, _, _ in squashing)),
        alphas=tuple(alpha for _, alpha, _ in squashing if alpha is not None),
        betas=tuple(beta for _, _, beta in squashing if beta is not None),
        attributes={"input_forget": 1} if o.forget_gate == "coupled" else {},
        states=("h_cut" if o.truncated else "h", "c"),
    )


@operator.register
def _gru(cell: GRU, layer: GatedLayer) -> Operator:
    weights = layer.weights()
    assert weights.weight_ih is not None and weights.bias is not None
    names = ("r", "z", "n")

    def ordered(packed: Tensor) -> Tensor:
        return torch.cat([rows(names, packed, name) for name in "zrn"])

    recurrent = ordered(torch.cat(weights.weight_hh))
    own = weights.bias.new_zeros(2 * layer.hidden_size)
    inner = own[: layer.hidden_size] if weights.bias_hh is None else weights.bias_hh
    after = int(cell.options.reset == "after")
    return Operator(
        "GRU",
        ordered(weights.weight_ih),
        recurrent,
        torch.cat([ordered(weights.bias), own, inner]),
        activations=("Sigmoid", "Tanh"),
        attributes={"linear_before_reset": after},
    )
