"""minGRU and minLSTM: gates that read the input alone, so that the recurrence is linear in its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional as F

from longlag.cells.base import GatedCell, rows
from longlag.kernels import Gate, Named
from longlag.options import Options


def positive(a: Tensor) -> Tensor:
    """g(a) = a + 1/2 where a >= 0, sigmoid(a) elsewhere: positive and continuous; its slope jumps at 0."""
    return torch.where(a >= 0, a + 0.5, torch.sigmoid(a))


def as_linear(parameters: Mapping[str, Tensor], generator: torch.Generator | None) -> None:
    """Draw all of them from U(-1/sqrt(I), 1/sqrt(I)), I being the inputs of ``weight_ih``, as ``nn.Linear`` does."""
    bound = parameters["weight_ih"].shape[1] ** -0.5
    for tensor in parameters.values():
        tensor.uniform_(-bound, bound, generator=generator)


class MinGRUOptions(Options):
    candidate: Literal["positive", "linear"] = "positive"
    bias: bool = True


class MinGRU(GatedCell[MinGRUOptions]):
    """minGRU: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi (2024), "Were RNNs all we needed?", arXiv 2410.01201.

    z_t = sigmoid(W_z x_t + b_z)                update gate
    n_t = g(W_n x_t + b_n)                      candidate
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    g(a) = a + 1/2 where a >= 0, sigmoid(a) elsewhere (``candidate="positive"``, the paper's log-space version), or the
    identity (``candidate="linear"``, the version it introduces first).

    Shapes: each W ``[H, I]``, b ``[H]``, packed in the order z, n; 2 H (I + 1) parameters, 2 H I with ``bias=False``,
    which is what the paper counts (a GRU has 3 H (I + H)).

    Differs from `GRU` in that gates and candidate do not read h_{t-1}, there is no reset gate and no tanh, and z_t
    *replaces* the state where the GRU's keeps it. h_t is a weighted mean of candidates: its gradient with respect to
    h_{t-1} is 1 - z_t, never above 1.

    Initialisation: U(-1/sqrt(I), 1/sqrt(I)), that of ``nn.Linear``; the paper states none. The initial state is zero.
    The paper trains by a parallel scan over logarithms; here the same numbers come from a loop over time.
    """

    def __init__(self, options: MinGRUOptions | None = None) -> None:
        super().__init__(options)
        bias = self.options.bias
        self.gates = (Gate("z", sources=(), bias=bias), Gate("n", sources=(), bias=bias))

    @property
    def formula(self) -> str:
        return "2*H*(I + 1)" if self.options.bias else "2*H*I"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        z = torch.sigmoid(g.z)
        n = positive(g.n) if self.options.candidate == "positive" else g.n
        return {"h": (1 - z) * s.h + z * n}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        as_linear(parameters, generator)


class MinLSTMOptions(MinGRUOptions):
    forget_bias: float = 0.0

    @model_validator(mode="after")
    def _bias_is_there(self) -> Self:
        if self.forget_bias and not self.bias:
            raise ValueError("forget_bias needs bias: true")
        return self


class MinLSTM(GatedCell[MinLSTMOptions]):
    """minLSTM: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi (2024), "Were RNNs all we needed?", arXiv 2410.01201.

    f_t = sigmoid(W_f x_t + b_f)                forget gate
    i_t = sigmoid(W_i x_t + b_i)                input gate
    n_t = g(W_n x_t + b_n)                      candidate, g as in `MinGRU`
    h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * n_t

    Shapes: each W ``[H, I]``, b ``[H]``, packed in the order f, i, n; 3 H (I + 1) parameters, 3 H I with
    ``bias=False``, which is what the paper counts (an LSTM has 4 H (I + H)).

    Differs from `LSTM` in that nothing but the sum reads h_{t-1}, there is no output gate and no cell state of its
    own, and the two gates are normalised to sum to 1; from `MinGRU` in that this normalised gate has two
    pre-activations. The share of the state kept is computed as sigmoid(softplus(-a_i) - softplus(-a_f)): f and i may
    both underflow.

    Initialisation: U(-1/sqrt(I), 1/sqrt(I)), that of ``nn.Linear``; then ``forget_bias`` is added to b_f (0 by
    default; larger values keep the state longer at first). The initial state is zero.
    """

    def __init__(self, options: MinLSTMOptions | None = None) -> None:
        super().__init__(options)
        self.gates = tuple(Gate(name, sources=(), bias=self.options.bias) for name in ("f", "i", "n"))

    @property
    def formula(self) -> str:
        return "3*H*(I + 1)" if self.options.bias else "3*H*I"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        keep = torch.sigmoid(F.softplus(-g.i) - F.softplus(-g.f))
        n = positive(g.n) if self.options.candidate == "positive" else g.n
        return {"h": keep * s.h + (1 - keep) * n}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        as_linear(parameters, generator)
        if self.options.bias:
            rows(("f", "i", "n"), parameters["bias"], "f").add_(self.options.forget_bias)
