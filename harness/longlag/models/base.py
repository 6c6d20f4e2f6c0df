"""What every model is: a module from a batch to the outputs that its loss compares with the targets."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longlag.cells import Cell, Compilable, Composition, Layer, Looped, Stack, StateGradients
from longlag.errors import UserError
from longlag.kernels import Kernel, which
from longlag.registry import raised_by
from longlag.spec import ModelSpec
from longlag.task import Answer, Array, Batch, Signature, Tokens

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

Records = Mapping[str, StateGradients]
"""Where gradient norms go, by part (``layer1``, ``encoder.layer2`` ...)."""


@dataclass(frozen=True)
class Tensors:
    """A batch as torch tensors on one device; reals have the run's dtype. The fields are those of `Batch`."""

    inputs: Tensor
    targets: Tensor
    exists: Tensor | None = None
    counted: Tensor | None = None
    tokens: Tensor | None = None
    context: Tensor | None = None
    answered: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, dtype: torch.dtype, device: torch.device) -> Tensors:
        def move(values: Array | None) -> Tensor | None:
            if values is None:
                return None
            tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
            return tensor.to(dtype) if tensor.is_floating_point() else tensor

        inputs, targets = move(batch.inputs), move(batch.targets)
        assert inputs is not None and targets is not None
        return cls(
            inputs,
            targets,
            move(batch.exists()),
            move(batch.counted),
            move(batch.tokens),
            move(batch.context),
            move(batch.answered()),
        )

    @property
    def batch(self) -> int:
        return self.inputs.shape[1]


class Model(nn.Module, ABC):
    """A network for one mapping.

    Attributes:
        signature: the task's.
        main_part: the part whose top state the gradient-flow scalars are taken from.
    """

    main_part: str

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.signature = signature

    @abstractmethod
    def forward(self, batch: Tensors, records: Records | None = None) -> Tensor:
        """The outputs that the loss compares with the targets: ``[B, O]``, or ``[U, B, O]`` for the true history.

        Args:
            batch: the sequences.
            records: filled in the backward pass with gradient norms, by part.
        """

    @abstractmethod
    def stacks(self) -> dict[str, Stack]:
        """The recurrent stacks by the prefix of their parts' names (``""``, ``encoder.`` ...)."""

    def answer(self, batch: Tensors, generator: torch.Generator) -> Answer | None:
        """What the model gives when it runs freely on its own outputs; None where the mapping knows no such thing.

        Args:
            batch: the sequences; their targets are not looked at.
            generator: where samples are drawn from, where the answer is sampled.
        """
        return None

    def set_progress(self, progress: float) -> None:
        """Told before every update how far training has come, 0 to 1: for scheduled teacher forcing."""

    def lengths(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """By part, how many steps each example has there; a part that is not named has all steps."""
        return {} if batch.lengths is None else dict.fromkeys(self.parts(), batch.lengths)

    def parts(self) -> dict[str, Layer]:
        """Every recurrent layer by name, the lowest first."""
        return {
            f"{prefix}layer{k}": layer
            for prefix, stack in self.stacks().items()
            for k, layer in enumerate(stack.layers, start=1)
            if isinstance(layer, Layer)
        }

    def state_size(self, steps: int) -> int:
        """Numbers kept from one step to the next for one sequence, all layers together, after so many steps."""
        return sum(stack.state_size(steps) for stack in self.stacks().values())

    def records(self) -> dict[str, StateGradients]:
        """An empty record for every part."""
        return {name: StateGradients() for name in self.parts()}

    @property
    def dtype(self) -> torch.dtype:
        # past self.parameters(), which lists every submodule first: slow
        return next(p.dtype for module in self.modules() for p in module._parameters.values() if p is not None)

    def constrained(self) -> list[nn.Parameter]:
        """The parameters that the recurrent layers compose orthogonal or unitary matrices from."""
        found = []
        for stack in self.stacks().values():
            names = set(stack.cell.constrained)
            for name, parameter in stack.named_parameters():
                if name.rpartition(".")[2] in names or ".parametrizations." in name:
                    found.append(parameter)
        return found

    def undecayed(self) -> list[nn.Parameter]:
        """The parameters that weight decay leaves alone: vectors, initial states, and what the cells name."""
        found = [parameter for parameter in self.parameters() if parameter.dim() < 2]
        for stack in self.stacks().values():
            for name, parameter in stack.named_parameters():
                named = name.startswith("starts.") or name.rpartition(".")[2] in stack.cell.undecayed
                if named and parameter.dim() >= 2:
                    found.append(parameter)
        return found

    def run_on(self, kernel: Kernel, checkpoint_steps: int | None) -> None:
        """Choose how the layers with a core run over time."""
        for module in self.modules():
            if isinstance(module, Compilable):
                module.kernel = kernel
            if isinstance(module, Looped):
                module.checkpoint_steps = checkpoint_steps

    def kernels(self, device: torch.device) -> str:
        """Which loops the layers take: ``plain``, ``compiled``, both, or ``none`` where no layer has a core."""
        looped = [module for module in self.modules() if isinstance(module, Looped)]
        taken = {which(layer.cell, self.dtype, device, layer.kernel) for layer in looped}
        return ", ".join(sorted(taken)) or "none"

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters by the part they belong to: the layers with their blocks, and ``readout`` for the rest."""
        groups = {name: list(layer.parameters()) for name, layer in self.parts().items()}
        for prefix, stack in self.stacks().items():
            for k, block in enumerate([] if stack.blocks is None else stack.blocks.blocks(), start=1):
                groups[f"{prefix}layer{k}"] += block.parameters()
        grouped = {id(parameter) for part in groups.values() for parameter in part}
        groups["readout"] = [parameter for parameter in self.parameters() if id(parameter) not in grouped]
        return groups


def stack_of(cell: Cell, size: int, model: ModelSpec, generator: torch.Generator) -> Stack:
    """The recurrent layers a model spec describes, reading `size` features.

    Raises:
        UserError: for a composition that the cell does not allow.
    """
    composition = Composition(
        model.dropout,
        model.residual,
        model.layer_norm,
        model.bidirectional,
        model.initial_state,
        model.recurrent,
        model.view,
        model.block,
    )
    try:
        return Stack(cell, size, model.hidden_size, model.depth, generator, composition)
    except ValueError as error:
        raise UserError(f"{raised_by(error) or 'model'}: {' '.join(str(error).split())}") from error


def readout_of(size: int, numbers: int, model: ModelSpec, generator: torch.Generator) -> nn.Sequential:
    """Feed-forward layers and a last affine map, drawn U(-1/sqrt(n), 1/sqrt(n)) for ``n`` inputs as ``nn.Linear``."""
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([size, *model.readout.hidden, numbers]):
        modules += [affine(inputs, outputs, generator), ACTIVATIONS[model.readout.activation]()]
    return nn.Sequential(*modules[:-1])


def affine(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """``nn.Linear`` with its own initialisation, from a generator."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


def features(signature: Signature, batch: Tensors, dtype: torch.dtype) -> Tensor:
    """The input as the layers see it, ``[T, B, I]``: symbols one-hot, behind the reals where there are both."""
    if isinstance(signature.input, Tokens):
        return nn.functional.one_hot(batch.inputs, signature.input.size).to(dtype)
    if batch.tokens is not None:
        symbols = nn.functional.one_hot(batch.tokens, signature.input.size - batch.inputs.shape[-1])
        return torch.cat([batch.inputs, symbols.to(dtype)], -1)
    return batch.inputs
