"""Translation: two networks, or one that reads, meets a special symbol, and starts to answer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longlag.cells import Cell, Stack
from longlag.cells.compose import reverse
from longlag.cells.stack import StackState
from longlag.errors import UserError
from longlag.models.base import Records, Tensors, features, stack_of
from longlag.models.decoder import Decoder, Memory
from longlag.models.decoding import run_freely
from longlag.models.teaching import AutoregressiveModel, outputs_of
from longlag.spec import ModelSpec
from longlag.task import Answer, Batch, Signature


class Translator(AutoregressiveModel):
    """Two networks (Sutskever et al. 2014, Cho et al. 2014): the encoder's last state starts the decoder.

    With attention the decoder also looks at all outputs of the encoder's top layer. ``decoder.reverse_source`` feeds
    the source from its last symbol to its first (Sutskever et al. 2014).

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers of both.
        model: sizes, depth, composition, readout, decoding; the same for both.
        generator: where the initial parameters come from: encoder, then decoder.
    """

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(signature, model.decoder)
        if model.bidirectional:
            raise UserError("model.bidirectional: a decoder answers in one direction, and starts from the encoder")
        self.encoder = stack_of(cell, signature.input.size, model, generator)
        attended = self.encoder.output_size if model.decoder.attention != "none" else 0
        self.decoder = Decoder(signature, cell, model, generator, attended)
        self.main_part = f"encoder.layer{self.encoder.depth}"
        self.seed_sampling(generator)

    def forward(self, batch: Tensors, records: Records | None = None) -> Tensor:
        state, memory = self._read(batch, records)
        mine = None if records is None else {n: r for n, r in records.items() if n.startswith("decoder.")}
        return outputs_of(self.decoder, batch, memory, state, self.forcing, self.sampling, mine)

    def answer(self, batch: Tensors, generator: torch.Generator) -> Answer:
        state, memory = self._read(batch, None)
        like = next(self.parameters())
        return run_freely(self.decoder, memory, state, batch.batch, like, self.spec, generator)

    def _read(self, batch: Tensors, records: Records | None) -> tuple[StackState, Memory]:
        inputs = features(self.signature, batch, self.dtype)
        if self.spec.reverse_source:
            inputs = reverse(inputs, batch.exists)
        mine = None if records is None else [r for n, r in records.items() if n.startswith("encoder.")]
        outputs, state = self.encoder(inputs, None, batch.exists, mine)
        if self.decoder.attention is None:
            return state, Memory(batch.context)
        return state, Memory(batch.context, outputs, batch.exists, self.decoder.attention.keys(outputs))

    def lengths(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        each = {"encoder.": batch.lengths, "decoder.": batch.target_lengths}
        return {
            part: steps
            for part in self.parts()
            for prefix, steps in each.items()
            if part.startswith(prefix) and steps is not None
        }

    def stacks(self) -> dict[str, Stack]:
        return {"encoder.": self.encoder, "decoder.": self.decoder.stack}


class OneNetwork(Decoder):
    """A decoder whose stack has read the source as well: its input is ``[source, special symbol, answer]``."""

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        self.before = signature.input.size + 1
        super().__init__(signature, cell, model, generator, extra=self.before)

    def read(self, source: Tensor) -> Tensor:
        """Source features ``[T, B, I]`` as inputs of the network."""
        return nn.functional.pad(source, (0, 1 + self.signature.outputs))

    def encode(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        return nn.functional.pad(super().encode(values, dtype), (self.before, 0))

    def start(self, batch: int, like: Tensor) -> Tensor:
        special = like.new_zeros(batch, self.before + self.signature.outputs)
        special[:, self.before - 1] = 1
        return special


class Interpreter(AutoregressiveModel):
    """One network: it reads the source, then a special symbol, then its own outputs, and answers from there on.

    A step of its input is a source symbol, the special symbol, or an answered symbol: ``I + 1 + O`` features, one-hot.
    After the special symbol the first output is due. Loss and metrics count the answer alone. In gradient records the
    states while it reads have their names, those while it answers are led by ``answer.``.

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers.
        model: sizes, depth, composition, readout, decoding.
        generator: where the initial parameters come from.
    """

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(signature, model.decoder)
        if model.bidirectional or model.decoder.attention != "none" or signature.context:
            raise UserError(
                "model.decoder.network: one network reads and answers in one direction, without attention or context"
            )
        self.decoder = OneNetwork(signature, cell, model, generator)
        self.main_part = f"layer{self.decoder.stack.depth}"
        self.seed_sampling(generator)

    def forward(self, batch: Tensors, records: Records | None = None) -> Tensor:
        state = self._read(batch, records)
        mine = None if records is None else {name: record.part("answer.") for name, record in records.items()}
        return outputs_of(self.decoder, batch, Memory(), state, self.forcing, self.sampling, mine)

    def answer(self, batch: Tensors, generator: torch.Generator) -> Answer:
        like = next(self.parameters())
        state = self._read(batch, None)
        return run_freely(self.decoder, Memory(), state, batch.batch, like, self.spec, generator)

    def _read(self, batch: Tensors, records: Records | None) -> StackState:
        inputs = features(self.signature, batch, self.dtype)
        if self.spec.reverse_source:
            inputs = reverse(inputs, batch.exists)
        in_order = None if records is None else list(records.values())
        _, state = self.decoder.stack(self.decoder.read(inputs), None, batch.exists, in_order)
        return state  # type: ignore[no-any-return]

    def stacks(self) -> dict[str, Stack]:
        return {"": self.decoder.stack}
