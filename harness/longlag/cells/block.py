"""The block of today's papers around every layer, whatever its cell; the same parts for all of them.

    x_t = what the model reads, or W_e of it + b_e where its size differs from H
    u_t = norm(x_t)
    y_t = layer(silu(conv(W_i u_t)))                the layer of the cell, E H units; W_i for E > 1
    x_t = x_t + W_o (head_norm(y_t) * silu(W_g u_t))
    x_t = x_t + W_2 (silu(W_1 norm(x_t)) * W_3 norm(x_t))

and a norm behind the last block. Each part is on or off, see `BlockSpec`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.base import Compilable, Layer
from longlag.cells.compose import Dropout
from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.mlp import GatedMLP
from longlag.cells.padding import Prefix, existing_steps, hold, silence
from longlag.cells.parts import RMSNorm
from longlag.cells.readout import linear
from longlag.cells.rows import GATED, NORMED, NORMED_GATED
from longlag.kernels import State, StateGradients, run_rows
from longlag.spec import BlockSpec

PREFIX = "block."
"""Prefix of the names of a block's own states; its layer's states have none."""


def norm(kind: str, size: int) -> nn.Module:
    """A norm over the last axis, or none."""
    return nn.LayerNorm(size) if kind == "layer" else RMSNorm(size) if kind == "rms" else nn.Identity()


class HeadNorm(nn.Module, Compilable):
    """A norm of the outputs ``[..., O]`` of every head by itself, O weights behind it; times silu(gate)."""

    def __init__(self, kind: str, heads: int, size: int) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"block.head_norm: {heads} heads do not divide the {size} outputs of a layer")
        self.kind, self.heads = kind, heads
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, y: Tensor, gate: Tensor | None) -> Tensor:
        each, weight = y.unflatten(-1, (self.heads, -1)), self.weight.unflatten(-1, (self.heads, -1))
        if self.kind == "layer":
            y = (F.layer_norm(each, each.shape[-1:]) * weight).flatten(-2)
            return y if gate is None else run_rows(GATED, {"y": y, "g": gate}, {}, self.kernel)["h"]
        if gate is None:
            return run_rows(NORMED, {"y": each}, {"w": weight}, self.kernel)["h"].flatten(-2)
        return run_rows(NORMED_GATED, {"y": each, "g": gate.view_as(each)}, {"w": weight}, self.kernel)["h"].flatten(-2)


class Block(nn.Module, Compilable):
    """What stands around one layer.

    Args:
        how: which parts there are.
        size: features of what it reads and gives, H.
        outputs: features of the layer's outputs.
        dropout: share of the layer's and of the feed-forward part's outputs zeroed while training.
        generator: where the initial parameters come from.
    """

    def __init__(
        self, how: BlockSpec, size: int, outputs: int, dropout: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        wide = how.expand * size
        self.how, self.size, self.wide = how, size, wide
        self.norm = norm(how.norm, size)
        self.up = linear(size, wide, generator, bias=False) if how.expand > 1 else None
        self.conv = ShortConvolution(wide, generator, bias=True) if how.conv else None
        self.head_norm = HeadNorm(how.norm, how.head_norm, outputs) if how.head_norm else None
        self.gate = linear(size, outputs, generator, bias=False) if how.gate else None
        self.out = linear(outputs, size, generator, bias=False) if how.gate or outputs != size else None
        units = max(1, round(how.mlp_factor * size))
        self.mlp = None if how.mlp == "none" else GatedMLP(how.mlp, size, units, generator)
        self.mlp_norm = None if self.mlp is None else norm(how.norm, size)
        self.dropout: nn.Module = nn.Identity()
        if dropout:
            self.dropout = Dropout(dropout, int(torch.randint(2**62, (), generator=generator)))

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The block's own states: its last output, and the convolution's last inputs."""
        state = {f"{PREFIX}h": like.new_zeros(batch, self.size)}
        if self.conv is not None:
            state[f"{PREFIX}window"] = like.new_zeros(batch, WIDTH - 1, self.wide)
        return state

    def before(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, Tensor, State]:
        """The normalised input ``[T, B, H]``, what the layer reads ``[T, B, E H]``, the convolution's next state."""
        u = self.norm(x)
        v = u if self.up is None else self.up(u)
        own = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        v, carried = convolve(self.conv, v, own, mask)
        return u, v, {f"{PREFIX}{name}": value for name, value in carried.items()}

    def after(self, x: Tensor, u: Tensor, y: Tensor, state: State, mask: Tensor | None) -> Tensor:
        """The block's outputs ``[T, B, H]``, from its inputs, the normalised ones, and the layer's outputs."""
        gate = None if self.gate is None else self.gate(u)
        y = self.gated(y, gate) if self.head_norm is None else self.head_norm(y, gate)
        x = self._add(x, y if self.out is None else self.out(y))
        if self.mlp is not None and self.mlp_norm is not None:
            x = self._add(x, self.mlp(self.mlp_norm(x)))
        return hold(x, mask, state[f"{PREFIX}h"])

    def gated(self, y: Tensor, gate: Tensor | None) -> Tensor:
        return y if gate is None else run_rows(GATED, {"y": y, "g": gate}, {}, self.kernel)["h"]

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        y = self.dropout(y)
        return x + y if self.how.residual else y


class Blocks(nn.Module):
    """The blocks of a stack, with the map before the first and the norm behind the last.

    Args:
        how: which parts there are.
        input_size: features of what the stack reads.
        size: units of the model, H.
        outputs: features of each layer's outputs.
        dropout: see `Block`.
        generator: where the initial parameters come from.
    """

    def __init__(
        self,
        how: BlockSpec,
        input_size: int,
        size: int,
        outputs: Sequence[int],
        dropout: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.encoder = nn.Identity() if input_size == size else linear(input_size, size, generator)
        self.each = nn.ModuleList(Block(how, size, width, dropout, generator) for width in outputs)
        self.norm = norm(how.norm if how.final_norm else "none", size)

    def blocks(self) -> list[Block]:
        return [block for block in self.each if isinstance(block, Block)]

    def forward(
        self,
        layers: Sequence[Layer],
        x: Tensor,
        state: Sequence[State],
        mask: Tensor | None,
        records: Sequence[StateGradients] | None,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Run over ``x [T, B, I]``: outputs ``[T, B, H]``, and the final state of every block and its layer."""
        steps, final = len(x), []
        if mask is not None:
            existing = existing_steps(mask)
            x, mask = silence(x, mask)[:existing], mask[:existing]
            records = None if records is None else [Prefix(record, steps) for record in records]
        x = self.encoder(x)
        for k, (block, layer) in enumerate(zip(self.blocks(), layers, strict=True)):
            u, v, carried = block.before(x, state[k], mask)
            y, last = layer(v, _inner(state[k]), mask, None if records is None else records[k])
            x = block.after(x, u, y, state[k], mask)
            final.append({**last, f"{PREFIX}h": x[-1], **carried})
        x = self.norm(x)
        if steps > len(x):
            x = torch.cat([x, x[-1:].expand(steps - len(x), -1, -1)])
        return x, tuple(final)

    def step(self, layers: Sequence[Layer], x_t: Tensor, state: Sequence[State]) -> tuple[Tensor, tuple[State, ...]]:
        """One step from ``x_t [B, I]``: the output ``[B, H]``, and the next state."""
        x, new = self.encoder(x_t).unsqueeze(0), []
        for block, layer, before in zip(self.blocks(), layers, state, strict=True):
            u, v, carried = block.before(x, before, None)
            y, after = layer.step(v[0], _inner(before))
            x = block.after(x, u, y.unsqueeze(0), before, None)
            new.append({**after, f"{PREFIX}h": x[0], **carried})
        return self.norm(x)[0], tuple(new)


def _inner(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith(PREFIX)}
