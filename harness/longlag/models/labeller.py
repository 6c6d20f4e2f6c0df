"""Classification and labelling: the recurrent layers and a readout, at the last step or at every one."""

from __future__ import annotations

import torch
from torch import Tensor

from longlag.cells import Cell, Stack
from longlag.models.base import Model, Records, Tensors, features, readout_of, stack_of
from longlag.spec import ModelSpec
from longlag.task import MappingKind, Signature


class Labeller(Model):
    """Outputs ``[B, O]`` from the last existing step (classification) or ``[T, B, O]`` from every step (labelling).

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers.
        model: sizes, depth, composition and readout.
        generator: where the initial parameters come from: first the layers, then the readout.
    """

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(signature)
        self.stack = stack_of(cell, signature.input.size, model, generator)
        self.readout = readout_of(self.stack.output_size, signature.values, model, generator)
        self.main_part = f"layer{self.stack.depth}"

    def forward(self, batch: Tensors, records: Records | None = None) -> Tensor:
        inputs = features(self.signature, batch, self.dtype)
        outputs, final = self.stack(inputs, None, batch.exists, None if records is None else list(records.values()))
        if self.signature.mapping is MappingKind.CLASSIFICATION:
            outputs = self.stack.summary(outputs, final)
        result: Tensor = self.readout(outputs)
        return result

    def stacks(self) -> dict[str, Stack]:
        return {"": self.stack}
