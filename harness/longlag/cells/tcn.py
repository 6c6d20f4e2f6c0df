"""The temporal convolutional network, as a layer with an explicit state."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.base import Cell, Layer
from longlag.cells.compose import Dropout
from longlag.cells.padding import front, newest, record_outputs, spread
from longlag.kernels import State, StateGradients
from longlag.options import Options


class TCNOptions(Options):
    kernel_size: int = Field(default=7, ge=2)
    levels: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    init: Literal["default", "paper"] = "default"


class TCN(Cell[TCNOptions]):
    """TCN: Bai, Kolter and Koltun (2018), arXiv 1803.01271. Not recurrent: a causal convolution over a fixed window.

    Level l = 0 ... L - 1 with dilation d = 2^l, kernel size K, on a sequence a (at first x):

    b_t = relu(sum_k W_1[k] a_{t - (K-1-k) d} + bias_1)
    c_t = relu(sum_k W_2[k] b_{t - (K-1-k) d} + bias_2)
    a'_t = relu(c_t + a_t), with a 1x1 convolution of a_t where the number of channels changes

    W = g V / ||V||, the norm over all of an output channel (weight normalisation). Before the first step everything is
    zero. Dropout, where asked for, follows both inner ReLUs and draws from a generator of its own.

    Shapes: V_1 ``[H, I or H, K]``, V_2 ``[H, H, K]``, g, bias ``[H]`` each; H is the number of channels of every level.
    H (I K + 2) + (2 L - 1) H (H K + 2) parameters, and H (I + 1) for the 1x1 convolution where I differs from H.
    Receptive field: 1 + 2 (K - 1) (2^L - 1) steps; nothing further back can be learned, and nothing inside vanishes
    with the lag. States: ``h``, the last output, and the last (K - 1) 2^l inputs of both convolutions of every level,
    ``level1.first`` and ``level1.second [B, steps, channels]`` and so on. In gradient records ``h`` is the gradient at
    the layer's outputs; there is no recurrent state.

    A *layer* is the whole network of L levels: depth 1 is the paper's.

    Initialisation: ``init="default"`` is what the authors' code effectively does: torch's U(-1/sqrt(n), 1/sqrt(n)) with
    n inputs of a convolution, biases too, g = ||V||; the 1x1 convolution's weight N(0, 0.01^2). (Paper and code say
    N(0, 0.01) of all weights, but weight normalisation recomputes them from g and V, so that it never takes effect.)
    ``init="paper"`` is the literal one: V ~ N(0, 0.01^2) as well. It does not leave the plateau on copy and adding.
    """

    @property
    def formula(self) -> str:
        k, levels = self.options.kernel_size, self.options.levels
        return f"H*(I*{k} + 2) + {2 * levels - 1}*H*(H*{k} + 2) + (I != H)*H*(I + 1)"

    @property
    def receptive_field(self) -> int:
        """Steps that an output depends on, its own included."""
        kernel_size, levels = int(self.options.kernel_size), int(self.options.levels)
        return 1 + 2 * (kernel_size - 1) * ((1 << levels) - 1)

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> TCNLayer:
        return TCNLayer(self.options, input_size, hidden_size, generator)


class CausalConvolution(nn.Module):
    """A dilated, weight-normalised convolution of ``window [B, C, past + T]`` to ``[B, H, T]``.

    Attributes:
        past: steps before the first output that it reads, (K - 1) * dilation.
    """

    def __init__(
        self, inputs: int, outputs: int, dilation: int, options: TCNOptions, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.past = (options.kernel_size - 1) * dilation
        self.inputs = inputs
        bound = 1 / math.sqrt(inputs * options.kernel_size)
        direction = torch.empty(outputs, inputs, options.kernel_size)
        if options.init == "default":
            direction.uniform_(-bound, bound, generator=generator)
        else:
            direction.normal_(0, 0.01, generator=generator)
        self.direction = nn.Parameter(direction)
        self.gain = nn.Parameter(direction.flatten(1).norm(dim=1))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound, generator=generator))

    def forward(self, window: Tensor) -> Tensor:
        scale = self.gain / self.direction.flatten(1).norm(dim=1)
        return F.conv1d(window, self.direction * scale.view(-1, 1, 1), self.bias, dilation=self.dilation)


class Level(nn.Module):
    """One residual block."""

    def __init__(
        self, inputs: int, hidden_size: int, dilation: int, options: TCNOptions, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.first = CausalConvolution(inputs, hidden_size, dilation, options, generator)
        self.second = CausalConvolution(hidden_size, hidden_size, dilation, options, generator)
        self.narrow = inputs != hidden_size
        if self.narrow:
            bound = 1 / math.sqrt(inputs)
            self.weight = nn.Parameter(torch.empty(hidden_size, inputs, 1).normal_(0, 0.01, generator=generator))
            self.bias = nn.Parameter(torch.empty(hidden_size).uniform_(-bound, bound, generator=generator))
        drawn = torch.randint(2**62, (2,), generator=generator).tolist() if options.dropout else []
        self.dropouts = nn.ModuleList(Dropout(options.dropout, seed) for seed in drawn)

    def forward(self, a: Tensor, past: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """From ``a [B, C, T]`` and the past inputs of both convolutions to ``[B, H, T]`` and both windows."""
        windows = []
        value = a
        for k, (convolution, before) in enumerate(zip((self.first, self.second), past, strict=True)):
            windows.append(torch.cat([before, value], -1))
            value = torch.relu(convolution(windows[-1]))
            if len(self.dropouts):
                value = self.dropouts[k](value)
        residual = F.conv1d(a, self.weight, self.bias) if self.narrow else a
        return torch.relu(value + residual), (windows[0], windows[1])


class TCNLayer(Layer):
    """`TCN` with the past inputs of its convolutions as its state."""

    def __init__(
        self, options: TCNOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        names = [f"level{k}.{which}" for k in range(1, options.levels + 1) for which in ("first", "second")]
        super().__init__(input_size, hidden_size, hidden_size, ("h", *names))
        self.levels = nn.ModuleList(
            Level(hidden_size if k else input_size, hidden_size, 2**k, options, generator)
            for k in range(options.levels)
        )

    def initial_state(self, batch: int) -> State:
        like = next(self.parameters())
        state = {"h": like.new_zeros(batch, self.hidden_size)}
        for k, level in enumerate(self.levels, start=1):
            assert isinstance(level, Level)
            for which, convolution in (("first", level.first), ("second", level.second)):
                state[f"level{k}.{which}"] = like.new_zeros(batch, convolution.past, convolution.inputs)
        return state

    def state_size(self, steps: int) -> int:
        kept = self.initial_state(1)
        return sum(min(value.shape[1], steps) * value.shape[2] for name, value in kept.items() if name != "h")

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        state = self.initial_state(x.shape[1]) if state is None else state
        existing, counts = (x, None) if mask is None else front(x, mask)
        a = existing.permute(1, 2, 0)
        final = {}
        for k, level in enumerate(self.levels, start=1):
            names = (f"level{k}.first", f"level{k}.second")
            a, windows = level(a, (state[names[0]].mT, state[names[1]].mT))
            for name, window in zip(names, windows, strict=True):
                newest_inputs = newest(window.permute(2, 0, 1), state[name].shape[1], counts)
                final[name] = newest_inputs.transpose(0, 1).contiguous()
        outputs = a.permute(2, 0, 1)
        outputs = outputs.contiguous() if mask is None else spread(outputs, mask, state["h"])
        record_outputs(record, outputs)
        return outputs, {"h": outputs[-1], **final}

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, final = self(x_t.unsqueeze(0), state)
        return outputs[0], final
