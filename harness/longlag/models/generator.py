"""Generation: one vector to a sequence, the outputs fed back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlag.cells import Cell, Stack
from longlag.models.base import Records, Tensors
from longlag.models.decoder import Decoder, Memory
from longlag.models.decoding import run_freely
from longlag.models.teaching import AutoregressiveModel, outputs_of
from longlag.spec import ModelSpec
from longlag.task import Answer, Batch, Signature


class Generator(AutoregressiveModel):
    """A decoder that sees the context vector at every step (Vinyals et al. 2015 show it once, as the first input).

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers.
        model: sizes, depth, composition, readout, decoding.
        generator: where the initial parameters come from.
    """

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(signature, model.decoder)
        self.decoder = Decoder(signature, cell, model, generator)
        self.main_part = f"layer{self.decoder.stack.depth}"
        self.seed_sampling(generator)

    def forward(self, batch: Tensors, records: Records | None = None) -> Tensor:
        return outputs_of(self.decoder, batch, Memory(batch.context), None, self.forcing, self.sampling, records)

    def answer(self, batch: Tensors, generator: torch.Generator) -> Answer:
        like = next(self.parameters())
        return run_freely(self.decoder, Memory(batch.context), None, batch.batch, like, self.spec, generator)

    def lengths(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        return {} if batch.target_lengths is None else dict.fromkeys(self.parts(), batch.target_lengths)

    def stacks(self) -> dict[str, Stack]:
        return {"": self.decoder.stack}
