"""The network of a run: a stack of recurrent layers and a readout, as the task's mapping asks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.cells import Cell, Composition, GatedLayer, Stack, StateGradients
from harness.kernels import Kernel, which
from harness.registry import UserError
from harness.spec import ModelSpec
from harness.task import MappingKind, Signature, Tokens

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def _affine(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


class Network(nn.Module):
    """Inputs to outputs: ``[T, B, I]`` reals or ``[T, B]`` tokens to ``[B, O]`` (classification) or ``[T, B, O]``.

    Tokens enter one-hot. The readout maps the top layer's output, at the last existing step for classification and
    at every step for labelling, through any feed-forward layers and an affine map; its weights are drawn
    U(-1/sqrt(n), 1/sqrt(n)) for ``n`` inputs, as ``nn.Linear``.

    Args:
        signature: the task's.
        cell: the definition of the recurrent layers.
        model: sizes, depth, composition and readout.
        generator: where the initial parameters come from: first the layers, then the readout.

    Raises:
        UserError: for a composition that the cell or the mapping does not allow.
    """

    def __init__(self, signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> None:
        super().__init__()
        if signature.mapping not in (MappingKind.CLASSIFICATION, MappingKind.LABELLING):
            raise NotImplementedError(f"no model for the mapping {signature.mapping.value!r} yet")
        self.signature = signature
        composition = Composition(
            model.dropout,
            model.residual,
            model.layer_norm,
            model.bidirectional,
            model.initial_state,
            model.recurrent,
            model.view,
        )
        try:
            self.stack = Stack(
                cell, signature.input.size, model.hidden_size, model.depth, generator, composition
            )
        except ValueError as error:
            raise UserError(f"model: {error}") from error
        sizes = [self.stack.output_size, *model.readout.hidden, signature.outputs]
        modules: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            modules += [_affine(inputs, outputs, generator), ACTIVATIONS[model.readout.activation]()]
        self.readout = nn.Sequential(*modules[:-1])

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
            inputs = nn.functional.one_hot(inputs, self.signature.input.size).to(self.dtype)
        outputs, _ = self.stack(inputs, None, exists, records)
        if self.signature.mapping is MappingKind.CLASSIFICATION:
            outputs = self.stack.summary(outputs)
        result: Tensor = self.readout(outputs)
        return result

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def constrained(self) -> list[nn.Parameter]:
        """The parameters that the recurrent layers compose orthogonal or unitary matrices from."""
        names = set(self.stack.cell.constrained)
        return [
            parameter
            for name, parameter in self.stack.named_parameters()
            if name.rpartition(".")[2] in names or ".parametrizations." in name
        ]

    def run_on(self, kernel: Kernel, checkpoint_steps: int | None) -> None:
        """Choose how the gated layers run over time."""
        for module in self.modules():
            if isinstance(module, GatedLayer):
                module.kernel, module.checkpoint_steps = kernel, checkpoint_steps

    def kernels(self, device: torch.device) -> str:
        """Which loops the gated layers take: ``plain``, ``compiled``, both, or ``none`` where no layer is gated."""
        gated = [module for module in self.modules() if isinstance(module, GatedLayer)]
        taken = {which(layer.cell, self.dtype, device, layer.kernel) for layer in gated}
        return ", ".join(sorted(taken)) or "none"

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters by the part they belong to: ``layer1`` ... and ``readout``."""
        parts = {f"layer{k}": list(layer.parameters()) for k, layer in enumerate(self.stack.layers, start=1)}
        parts["readout"] = list(self.readout.parameters())
        grouped = {id(parameter) for part in parts.values() for parameter in part}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in grouped]
        return {**parts, "between": rest} if rest else parts
