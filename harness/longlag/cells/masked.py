"""A stack seen as one fully connected recurrent layer whose weight masks zero what is not wanted.

Put the states of ``L`` layers side by side: ``s = [s^1 ... s^L]``, ``L * H`` units a state. One layer with full
matrices ``W`` (from the input) and ``U`` (from all units) describes the stack when masks keep of ``W`` only the rows of
the first block, and of ``U`` only the diagonal blocks (each layer's own recurrence) and those below the diagonal (each
layer's input from the one beneath). What a unit reads is one step old, so block ``k`` runs ``k - 1`` steps behind:
after step ``t + k - 1`` it holds what layer ``k`` of the stack holds after step ``t``. Blocks that have not begun keep
their initial state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longlag.cells.base import GatedCell, Layer, rows
from longlag.kernels import State, StateGradients, Weights
from longlag.kernels.plain import project
from longlag.kernels.plain import step as plain_step
from longlag.kernels.recurrence import Layout


class MaskedStack(Layer):
    """`depth` layers of a gated cell as one layer of ``depth * hidden_size`` units with masked weights.

    Its parameters are the full matrices; ``input_mask`` and ``recurrent_mask`` (0 or 1) stand beside them. Masked-out
    weights get no gradient. For cells whose products read ``h`` alone.

    Args:
        cell: a gated cell with one recurrent product, from its first output.
        input_size: features of ``x``.
        hidden_size: units of one block.
        depth: number of blocks.
        generator: where the parameters come from: layer by layer, exactly as the stack draws them.
    """

    def __init__(
        self, cell: GatedCell, input_size: int, hidden_size: int, depth: int, generator: torch.Generator | None = None
    ) -> None:
        layout = Layout.of(cell)
        plain = all(gate.inputs and gate.sources == ("h",) and not gate.split for gate in layout.gates)
        if not plain or cell.units or cell.outputs != ("h",) or set(cell.shapes(1, 1)) != {
            "weight_ih", "weight_hh", "bias"
        }:  # fmt: skip
            raise ValueError("the masked view is for cells whose every gate is W x + U h + b, with nothing beside it")
        super().__init__(input_size, hidden_size, hidden_size, tuple(cell.states))
        self.cell, self.layout, self.depth = cell, layout, depth
        wide, gates = depth * hidden_size, len(layout.gates)
        self.weight_ih = nn.Parameter(torch.zeros(gates * wide, input_size))
        self.weight_hh = nn.Parameter(torch.zeros(gates * wide, wide))
        self.bias = nn.Parameter(torch.zeros(gates * wide))
        self.register_buffer("input_mask", torch.zeros_like(self.weight_ih))
        self.register_buffer("recurrent_mask", torch.zeros_like(self.weight_hh))
        with torch.no_grad():
            for k in range(depth):
                part = cell.layer(input_size if k == 0 else hidden_size, hidden_size, generator)
                for gate in layout.biases:
                    block = slice(k * hidden_size, (k + 1) * hidden_size)
                    below = slice((k - 1) * hidden_size, k * hidden_size)
                    own = {n: rows(layout.biases, p, gate) for n, p in part.named_parameters()}
                    rows(layout.biases, self.bias, gate)[block] = own["bias"]
                    rows(layout.biases, self.weight_hh, gate)[block, block] = own["weight_hh"]
                    rows(layout.biases, self._mask("recurrent_mask"), gate)[block, block] = 1
                    if k == 0:
                        rows(layout.biases, self.weight_ih, gate)[block] = own["weight_ih"]
                        rows(layout.biases, self._mask("input_mask"), gate)[block] = 1
                    else:
                        rows(layout.biases, self.weight_hh, gate)[block, below] = own["weight_ih"]
                        rows(layout.biases, self._mask("recurrent_mask"), gate)[block, below] = 1

    def _mask(self, name: str) -> Tensor:
        mask = getattr(self, name)
        assert isinstance(mask, Tensor)
        return mask

    def initial_state(self, batch: int) -> State:
        """The blocks' initial states side by side, every tensor ``[B, depth * H]``."""
        return self.cell.initial_state(batch, self.depth * self.hidden_size, self.bias)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        steps, batch, _ = x.shape
        state = self.initial_state(batch) if state is None else state
        weights = Weights(
            self.weight_ih * self._mask("input_mask"),
            (self.weight_hh * self._mask("recurrent_mask"),),
            self.bias,
            None,
            {},
        )
        late = self.depth - 1
        padded = torch.cat([x, x.new_zeros(late, batch, self.input_size)])
        exists = x.new_ones(steps, batch, dtype=torch.bool) if mask is None else mask
        absent = exists.new_zeros(1, batch)
        # block k at step t stands where the stack's layer k stands at step t - k
        shifted = [
            torch.cat([absent.expand(k, batch), exists, absent.expand(late - k, batch)]) for k in range(late + 1)
        ]
        runs = torch.stack(shifted, -1).repeat_interleave(self.hidden_size, -1)
        projected, biases = project(self.layout, weights, padded)
        assert projected is not None
        if record is not None:
            record.allocate(self.state_names, steps + late, batch)
        outputs = []
        for t, (x_t, run) in enumerate(zip(projected.unbind(0), runs.unbind(0), strict=True)):
            new = plain_step(self.cell, self.layout, weights, x_t, biases, state)
            state = {name: torch.where(run, new[name], state[name]) for name in self.state_names}
            for name, value in state.items():
                if record is not None and value.requires_grad:
                    value.register_hook(lambda grad, name=name, t=t: record.put(name, t, grad))
            outputs.append(state["h"][:, -self.hidden_size :])
        return torch.stack(outputs[late:]), state

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if self.depth > 1:
            raise TypeError("in the masked view blocks run behind each other: it reads whole sequences only")
        outputs, final = self(x_t.unsqueeze(0), state)
        return outputs[0], final
