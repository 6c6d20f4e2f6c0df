"""One step of answering: the previous output, what there is to look at, a recurrent stack, a readout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longlag.cells import Cell, Stack, StateGradients
from longlag.cells.stack import StackState
from longlag.models.attention import Attention
from longlag.models.base import affine, readout_of, stack_of
from longlag.models.losses import mixture
from longlag.spec import ModelSpec
from longlag.task import Signature


@dataclass(frozen=True)
class Memory:
    """What a decoder looks at while it answers.

    Args:
        context: ``[B, C]``, seen at every step; None for none.
        states: the encoder's outputs ``[T, B, H]``, to attend to; None without attention.
        exists: ``[T, B]``, which of them exist; None when all do.
        keys: what attention holds its queries against, made of `states` once for all steps; None without attention.
    """

    context: Tensor | None = None
    states: Tensor | None = None
    exists: Tensor | None = None
    keys: Tensor | None = None

    def repeat(self, times: int) -> Memory:
        """Every example `times` times in a row, for a beam."""

        def again(tensor: Tensor | None, dim: int) -> Tensor | None:
            return None if tensor is None else tensor.repeat_interleave(times, dim)

        return Memory(again(self.context, 0), again(self.states, 1), again(self.exists, 1), again(self.keys, 1))


class Decoder(nn.Module):
    """Previous outputs (one-hot or real) and a context vector to the next output's numbers.

    Luong attention (2015, "general") looks with the decoder's new output and enters the readout; Bahdanau attention
    (2015, additive) looks with the decoder's previous output and enters its input.

    Args:
        signature: the task's; its outputs are what the decoder gives and reads back.
        cell: the definition of the recurrent layers.
        model: sizes, depth, composition, readout, attention.
        generator: where the initial parameters come from.
        attended: size of the encoder's outputs, for attention; 0 for none.
        extra: features of the input beside those of an output.
    """

    def __init__(
        self,
        signature: Signature,
        cell: Cell,
        model: ModelSpec,
        generator: torch.Generator,
        attended: int = 0,
        extra: int = 0,
    ) -> None:
        super().__init__()
        self.signature = signature
        kind = model.decoder.attention if attended else "none"
        self.early = kind == "bahdanau"
        size = extra + signature.outputs + signature.context + (attended if self.early else 0)
        self.stack: Stack = stack_of(cell, size, model, generator)
        width = self.stack.output_size
        self.attention = Attention(kind, width, attended, generator) if kind != "none" else None
        self.merge = affine(width + attended, width, generator) if kind == "luong" else None
        self.readout = readout_of(width, signature.values, model, generator)

    @property
    def symbols(self) -> bool:
        """Whether outputs are symbols, fed back one-hot."""
        return self.signature.loss == "cross-entropy"

    def encode(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Outputs as they are read back: symbols one-hot, reals as they are."""
        return nn.functional.one_hot(values, self.signature.outputs).to(dtype) if self.symbols else values

    def likeliest(self, numbers: Tensor) -> Tensor:
        """The output that its numbers make likeliest: what is read back where nothing is sampled."""
        match self.signature.loss:
            case "cross-entropy":
                return numbers.argmax(-1)
            case "bernoulli":
                return (numbers > 0).to(numbers.dtype)
            case "mixture-density":
                log_weights, mean, _, _, lift = mixture(numbers)
                point = mean[torch.arange(len(mean)), log_weights.argmax(-1)]
                return torch.cat([point, (lift > 0).to(point.dtype).unsqueeze(-1)], -1)
            case _:
                return numbers

    def start(self, batch: int, like: Tensor) -> Tensor:
        """What stands in for the output before the first: nothing, all zero."""
        return like.new_zeros(batch, self.signature.outputs)

    def whole(
        self, history: Tensor, memory: Memory, state: StackState | None, mask: Tensor | None,
        records: list[StateGradients] | None,
    ) -> Tensor:  # fmt: skip
        """The numbers of every step for a known history ``[U, B, O]`` of encoded previous outputs."""
        if self.early:
            raise ValueError("with Bahdanau attention the next input depends on the last output: go step by step")
        inputs = history
        if memory.context is not None:
            inputs = torch.cat([history, memory.context.expand(len(history), *memory.context.shape)], -1)
        outputs, _ = self.stack(inputs, state, mask, records)
        return self._read_out(outputs, memory)

    def step(
        self, previous: Tensor, memory: Memory, state: StackState | None, output: Tensor | None
    ) -> tuple[Tensor, StackState, Tensor]:
        """One step.

        Args:
            previous: the encoded output before, ``[B, O]``.
            memory: what there is to look at.
            state: of the stack.
            output: the stack's output at the step before (None at the first), which Bahdanau attention looks with.

        Returns:
            The numbers ``[B, N]``, the next state, and the stack's output.
        """
        parts = [previous]
        if memory.context is not None:
            parts.append(memory.context)
        if self.early:
            query = previous.new_zeros(len(previous), self.stack.output_size) if output is None else output
            parts.append(self._seen(query.unsqueeze(0), memory)[0])
        output, state = self.stack.step(torch.cat(parts, -1), state)
        return self._read_out(output.unsqueeze(0), memory)[0], state, output

    def _read_out(self, outputs: Tensor, memory: Memory) -> Tensor:
        if self.merge is not None:
            outputs = torch.tanh(self.merge(torch.cat([outputs, self._seen(outputs, memory)], -1)))
        result: Tensor = self.readout(outputs)
        return result

    def _seen(self, queries: Tensor, memory: Memory) -> Tensor:
        assert self.attention is not None and memory.states is not None and memory.keys is not None
        seen: Tensor = self.attention(queries, memory.keys, memory.states, memory.exists)
        return seen
