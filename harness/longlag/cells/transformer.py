"""A causal Transformer layer with a bounded context, its keys and values as an explicit state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.attention import attend, rotate, split
from longlag.cells.base import Cell, Layer
from longlag.cells.compose import Dropout
from longlag.cells.mlp import affine, feed_forward
from longlag.cells.padding import front, newest, record_outputs, spread
from longlag.cells.readout import linear
from longlag.kernels import State, StateGradients, memory
from longlag.kernels.autograd import apply, once_differentiable
from longlag.options import Options

BLOCK = 256
"""Queries that are scored together: bounds the scores' memory to BLOCK * (BLOCK + context) a head and example."""


class TransformerOptions(Options):
    heads: int = Field(default=4, ge=1)
    context: int = Field(default=1024, ge=1)
    feed_forward: int = Field(default=4, ge=1)
    positions: Literal["rotary", "none"] = "rotary"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Transformer(Cell[TransformerOptions]):
    """A causal Transformer layer: Vaswani et al. (2017), arXiv 1706.03762, with what became usual since. Not recurrent.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = W n_t + b,  n_t = norm(u_t)                                      M heads of size E
    a_t = u_t + W_o [sum_{t - context <= j <= t} softmax_j(q_t . k_j / sqrt(E)) v_j] + b_o
    h_t = a_t + W_2 gelu(W_1 norm(a_t) + b_1) + b_2

    The norm comes before each part (pre-norm, Xiong et al. 2020). ``positions="rotary"`` turns queries and keys by
    angles proportional to their step (Su et al. 2021), so that a score depends on the distance t - j alone, and a
    sequence may be read in chunks; with ``"none"`` only the causal mask tells order. Each step sees itself and the
    ``context`` steps before it. No norm follows the last layer: the composition's ``layer_norm`` does that.

    Shapes: M = ``heads``; E = H / M rounded up to an even number; W ``[3 M E, H]``, W_o ``[H, M E]``, W_1 ``[f H, H]``,
    W_2 ``[H, f H]`` with f = ``feed_forward``; two norms of 2 H. 4 H + 3 M E (H + 1) + H (M E + 1) + f H (H + 1) +
    H (f H + 1) parameters, and H (I + 1) where I differs from H. States: ``h``, the last output; ``k`` and ``v``
    ``[B, context, M E]``, keys (not turned) and values, the newest last; ``seen [B]``, how many of them exist (int64).
    In gradient records ``h`` is the gradient at the layer's outputs; there is no recurrent state.

    Differs from `TCN` in that what it reads from the past depends on what is there; its cost grows with
    T * context instead of T.

    Initialisation: matrices Glorot uniform, as the authors' code does (q, k and v each on its own), biases 0, norms 1;
    the encoder W_u torch's own. Dropout, where asked for, is on both parts' outputs, from a generator of its own.
    """

    version = 2

    @property
    def formula(self) -> str:
        heads, f = self.options.heads, self.options.feed_forward
        width = f"{heads}*2*((H + {2 * heads - 1})//{2 * heads})"
        parts = f"4*H + 3*{width}*(H + 1) + H*({width} + 1) + {f}*H*(H + 1) + H*({f}*H + 1)"
        return f"{parts} + (I != H)*H*(I + 1)"

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> TransformerLayer:
        return TransformerLayer(self.options, input_size, hidden_size, generator)


def glorot(inputs: int, outputs: int, generator: torch.Generator | None, parts: int = 1) -> nn.Linear:
    """A linear map, Glorot uniform in each of its `parts`, without bias at first."""
    module: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = math.sqrt(6 / (inputs + outputs // parts))
    with torch.no_grad():
        module.weight.uniform_(-bound, bound, generator=generator)
        module.bias.zero_()
    return module


def keep(past: Tensor, new: Tensor, counts: Tensor | None) -> Tensor:
    """The last ``len(past)`` steps of ``past [S, B, F]`` and then ``new [T, B, F]``, of which ``counts [B]`` exist."""
    if counts is not None:
        return newest(torch.cat([past, new]), len(past), counts)
    old, recent = past[len(new) :], new[max(0, len(new) - len(past)) :]
    joined: Tensor = apply(Joined, old, recent) if new.device.type == "cpu" else torch.cat([old, recent])
    return joined


class Joined(torch.autograd.Function):
    """``apply(old, recent)`` -> both, one behind the other, in memory that is used again."""

    @staticmethod
    def forward(ctx: Any, old: Tensor, recent: Tensor) -> Tensor:
        ctx.steps = len(old)
        made = memory.empty((len(old) + len(recent), *recent.shape[1:]), recent.dtype)
        if old.numel() and not any(old.stride()):  # one number everywhere, which `copy_` would read again and again
            made[: len(old)].fill_(float(old[0, 0, 0]))
        else:
            made[: len(old)] = old
        made[len(old) :] = recent
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient[: ctx.steps], gradient[ctx.steps :]


class TransformerLayer(Layer):
    """`Transformer` with its past keys and values as its state."""

    def __init__(
        self, options: TransformerOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, hidden_size, ("h", "k", "v", "seen"))
        self.options = options
        self.width = options.heads * 2 * math.ceil(hidden_size / (2 * options.heads))
        inner = options.feed_forward * hidden_size
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(2))
        self.project = glorot(hidden_size, 3 * self.width, generator, parts=3)
        self.out = glorot(self.width, hidden_size, generator)
        self.widen = glorot(hidden_size, inner, generator)
        self.narrow = glorot(inner, hidden_size, generator)
        drawn = torch.randint(2**62, (2,), generator=generator).tolist() if options.dropout else []
        self.dropouts = nn.ModuleList(Dropout(options.dropout, seed) for seed in drawn)

    def initial_state(self, batch: int) -> State:
        like = self.out.bias
        cache = (batch, self.options.context, self.width)
        return {
            "h": like.new_zeros(batch, self.hidden_size),
            "k": like.new_zeros(cache),
            "v": like.new_zeros(cache),
            "seen": torch.zeros(batch, dtype=torch.int64, device=like.device),
        }

    def state_size(self, steps: int) -> int:
        return 2 * min(steps, self.options.context) * self.width

    def _start(self, batch: int) -> State:
        """`initial_state`, to be read only: its zeros take no memory."""
        zero = self.out.bias.new_zeros(())
        state = {name: zero.expand(batch, self.options.context, self.width) for name in ("k", "v")}
        seen = torch.zeros(batch, dtype=torch.int64, device=zero.device)
        return {"h": zero.expand(batch, self.hidden_size), **state, "seen": seen}

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        state = self._start(x.shape[1]) if state is None else state
        existing, counts = (x, None) if mask is None else front(x, mask)
        u = existing if self.encoder is None else self.encoder(existing)
        norms, context = cast(Sequence[nn.LayerNorm], self.norms), self.options.context
        packed = affine(u, self.project, norms[0])
        q, k, v = packed.chunk(3, -1)
        past = {"k": state["k"].transpose(0, 1), "v": state["v"].transpose(0, 1)}
        if len(u) <= context + 1 and not state["seen"].any():
            attended = attend(packed, self.options.heads, self.options.positions == "rotary")
        else:
            attended = self._attend(q, torch.cat([past["k"], k]), torch.cat([past["v"], v]), state["seen"])
        a = self._add(0, u, lambda residual: affine(attended, self.out, None, residual))
        outputs = self._add(1, a, lambda residual: feed_forward("gelu", a, self.widen, self.narrow, norms[1], residual))
        outputs = outputs if mask is None else spread(outputs, mask, state["h"])
        record_outputs(record, outputs)
        final = {name: keep(past[name], new, counts).transpose(0, 1) for name, new in (("k", k), ("v", v))}
        seen = (state["seen"] + (len(x) if counts is None else counts)).clamp(max=context)
        return outputs, {"h": outputs[-1], **final, "seen": seen}

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, final = self(x_t.unsqueeze(0), state)
        return outputs[0], final

    def _add(self, k: int, u: Tensor, part: Callable[[Tensor | None], Tensor]) -> Tensor:
        """``u + part``, the part with dropout where there is such."""
        dropped: Tensor = u + self.dropouts[k](part(None)) if len(self.dropouts) else part(u)
        return dropped

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        """Attention of ``q [T, B, M E]`` over the windows ``[context + T, B, M E]``: ``[T, B, M E]``."""
        context = self.options.context
        unseen = context - int(seen.max())  # nobody has these oldest slots
        query, key, value = (split(w, self.options.heads) for w in (q, k[unseen:], v[unseen:]))
        if self.options.positions == "rotary":
            query, key = rotate(query, context - unseen), rotate(key, 0)
        oldest = None if bool((seen == seen[0]).all()) else context - unseen - seen  # by example, in the window
        parts: list[Tensor] = []
        for first in range(0, len(q), BLOCK):
            last = min(first + BLOCK, len(q))
            start, stop = max(0, first - unseen), context - unseen + last
            here = torch.arange(first, last, device=q.device).unsqueeze(1) + context - unseen
            there = torch.arange(start, stop, device=q.device)
            allowed = (there <= here) & (there >= here - context)
            if oldest is not None:
                allowed = allowed & (there >= oldest.view(-1, 1, 1, 1))
            block = (query[:, :, first:last], key[:, :, start:stop], value[:, :, start:stop])
            parts.append(F.scaled_dot_product_attention(*block, attn_mask=allowed))
        return torch.cat(parts, 2).permute(2, 0, 1, 3).flatten(2)
