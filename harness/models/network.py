"""The network of a run: a stack of recurrent layers and a readout, as the task's mapping asks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.cells import Cell, Stack, StateGradients
from harness.task import MappingKind, Signature, Tokens


class Network(nn.Module):
    """Inputs to outputs: ``[T, B, I]`` reals or ``[T, B]`` tokens to ``[B, O]`` (classification) or ``[T, B, O]``.

    Tokens enter one-hot. The readout is one affine map of the top layer's output, at the last existing step for
    classification and at every step for labelling; its weights are drawn U(-1/sqrt(H), 1/sqrt(H)) as ``nn.Linear``.

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers.
        hidden_size: units of every layer.
        depth: layers.
        generator: where the initial parameters come from: first the layers, then the readout.
    """

    def __init__(
        self, signature: Signature, cell: Cell, hidden_size: int, depth: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        if signature.mapping not in (MappingKind.CLASSIFICATION, MappingKind.LABELLING):
            raise NotImplementedError(f"no model for the mapping {signature.mapping.value!r} yet")
        self.signature = signature
        self.stack = Stack(cell, signature.input.size, hidden_size, depth, generator)
        self.readout = nn.Linear(self.stack.output_size, signature.outputs)
        bound = self.stack.output_size**-0.5
        with torch.no_grad():
            self.readout.weight.uniform_(-bound, bound, generator=generator)
            self.readout.bias.uniform_(-bound, bound, generator=generator)

    def forward(
        self, inputs: Tensor, exists: Tensor | None = None, records: Sequence[StateGradients] | None = None
    ) -> Tensor:
        """Outputs (or logits).

        Args:
            inputs: ``[T, B, I]`` or, for tokens, ``[T, B]``.
            exists: ``[T, B]``, the steps that exist. Past them the state is carried over, so that the last output of
                a sequence stands at the last step of the batch.
            records: one a layer, filled with gradient norms in the backward pass.
        """
        if isinstance(self.signature.input, Tokens):
            inputs = nn.functional.one_hot(inputs, self.signature.input.size).to(self.readout.weight.dtype)
        outputs, _ = self.stack(inputs, None, exists, records)
        if self.signature.mapping is MappingKind.CLASSIFICATION:
            outputs = outputs[-1]
        result: Tensor = self.readout(outputs)
        return result

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters by the part they belong to: ``layer1`` ... and ``readout``."""
        parts = {f"layer{k}": list(layer.parameters()) for k, layer in enumerate(self.stack.layers, start=1)}
        return {**parts, "readout": list(self.readout.parameters())}
