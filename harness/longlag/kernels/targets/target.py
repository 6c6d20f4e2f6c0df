"""What a kernel target is: it builds a cell's plan into a kernel and runs that, forward and backward.

`Target` says what it supports and builds a `Kernel`; the kernel starts a `Pass` over each batch. What every target
needs is done before it is called (`longlag.kernels.compiled`): the cell is traced, the tensors are checked, made
contiguous and put in one order, and autograd calls back.

Weights come as one flat list: ``weight_ih, bias, bias_hh, *weight_hh, *units`` with the shapes of
`longlag.kernels.recurrence.Weights`, None where the cell has none. States come in the order of ``plan.states``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from longlag.kernels.attention import Attention
from longlag.kernels.columns import Place
from longlag.kernels.compiler.chain_plan import ChainPlan
from longlag.kernels.compiler.plan import Plan
from longlag.kernels.compiler.scan_plan import ScanPlan
from longlag.kernels.maps import Maps

Maybe = Tensor | None
Shapes = tuple[tuple[int, ...], ...]

PLAIN = (Tensor, torch.nn.Parameter)
"""The types of tensors that are nothing but memory; others give every operation a meaning of their own."""


class CannotBuild(Exception):
    """Why a plan does not become a kernel, as one sentence without a full stop."""


@dataclass(frozen=True)
class Cached:
    """What a target has built and keeps on the disk.

    Args:
        folder: where.
        whole: how many files are as they were written.
        unfinished: how many have no checksum: a process was killed while it wrote them, or an older longlag did.
        damaged: those that are not as they were written, and why.
    """

    folder: Path
    whole: int
    unfinished: int
    damaged: Mapping[Path, str]


class Pass(ABC):
    """One run over one batch. It lives as long as the autograd graph of its outputs."""

    @abstractmethod
    def forward(
        self, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Tensor], keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Maybe]]:
        """Run over ``x [T, B, I]``.

        Args:
            x: the inputs.
            weights: flat.
            initial: the states before the first step.
            keep: whether `backward` will be called.

        Returns:
            The output states over time, side by side, ``[T, B, n H]``; the final states; and the tensors that
            `backward` reads, which autograd then guards against changes in place. None of them shares memory with an
            argument.
        """

    @abstractmethod
    def backward(
        self,
        x: Tensor,
        weights: Sequence[Maybe],
        initial: Sequence[Tensor],
        saved: Sequence[Maybe],
        by_outputs: Maybe,
        by_final: Sequence[Maybe],
        need_x: bool,
        need: Sequence[bool],
    ) -> tuple[Maybe, list[Maybe], Sequence[Maybe]]:
        """The gradients, and the squared norms of the states' gradients on the way. May be called more than once.

        Args:
            x: as in `forward`.
            weights: as in `forward`.
            initial: as in `forward`.
            saved: what `forward` returned.
            by_outputs: the gradient by the outputs; None where it is zero.
            by_final: those by the final states; None where one is zero.
            need_x: whether the gradient by the inputs is needed.
            need: for every weight and then every state, whether its gradient is needed.

        Returns:
            The gradients by the inputs, by the weights and by the initial states; None where none is needed.
        """


class Kernel(ABC):
    """A plan that a target has built for one dtype and device.

    Attributes:
        n_weights: weights in the flat list, absent ones counted.
        n_states: states.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        self.plan, self.dtype = plan, dtype
        self.n_weights, self.n_states = 3 + plan.products + len(plan.units), len(plan.states)
        self._shapes: dict[tuple[int, ...], Shapes] = {}

    @abstractmethod
    def start(
        self,
        x: Tensor,
        initial: Sequence[Tensor],
        mask: Maybe,
        squares: Sequence[Maybe],
        checkpoint_steps: int | None,
    ) -> Pass:
        """Begin a pass.

        Args:
            x: the inputs ``[T, B, I]``, at least one step and one example.
            initial: the states before the first step.
            mask: bool ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged.
            squares: for every state, where the backward pass puts the squared norms of its gradients: float64
                ``[T, B]`` on the CPU; None where they are not recorded. See `longlag.kernels.StateGradients`.
            checkpoint_steps: keep the states of every so many steps only, and compute the rest again in the backward
                pass. A target with nothing to gain from it may ignore it: the gradients are the same.
        """

    def check(self, sizes: tuple[int, ...], tensors: Sequence[Maybe], first: int = 0) -> None:
        """Compare weights and states, one list, with the shapes they must have: a kernel trusts its sizes.

        Args:
            sizes: batch, inputs, and the shape of the first state of one example.
            tensors: some of them.
            first: the index of the first one.

        Raises:
            ValueError: naming what has the wrong shape.
        """
        expected = self._shapes.get(sizes)
        if expected is None:
            batch, inputs, *state = sizes
            expected = self._shapes[sizes] = self.shapes(batch, inputs, state)
        for k, tensor in enumerate(tensors, first):
            if tensor is not None and tensor.shape != expected[k]:
                matrices = [f"weight_hh {k + 1}" for k in range(self.plan.products)]
                states = [f"state {name}" for name in self.plan.states]
                name = ("weight_ih", "bias", "bias_hh", *matrices, *self.plan.units, *states)[k]
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected[k]}")

    def shapes(self, batch: int, inputs: int, state: Sequence[int]) -> Shapes:
        """The shapes of the weights, flat, and then of the initial states.

        Here every state is ``[B, H]``. A target whose states are vectors or matrices per unit overrides it.

        Args:
            batch: examples.
            inputs: features of the inputs.
            state: the shape of the first state of one example.
        """
        plan, hidden = self.plan, state[-1] if state else 0
        in_rows, biases, recurrent = (
            sum(rows.count for rows in group) * hidden for group in (plan.inputs, plan.biases, plan.recurrent_biases)
        )
        matrices = {t.product: (t.count * hidden, t.blocks * hidden) for t in plan.terms}
        return (
            (in_rows, inputs), (biases,), (recurrent,), *(matrices[k] for k in range(plan.products)),
            *[(hidden,) for _ in plan.units], *[(batch, hidden) for _ in plan.states],
        )  # fmt: skip


class ScanPass(ABC):
    """One run of a scan over one batch. Tensors come in the order of the plan; shapes are those of `run_scan`."""

    @abstractmethod
    def forward(
        self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], initial: Sequence[Tensor], keep: bool
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """The outputs, the final states, and the tensors that `backward` reads; `keep`: whether it will be called.

        None of them shares memory with an argument. Outputs of steps that do not exist are zeros.
        """

    @abstractmethod
    def backward(
        self,
        inputs: Sequence[Tensor],
        parameters: Sequence[Tensor],
        saved: Sequence[Tensor],
        by_outputs: Sequence[Maybe],
        by_final: Sequence[Maybe],
        need: Sequence[bool],
    ) -> tuple[Sequence[Maybe], Sequence[Maybe], Sequence[Tensor]]:
        """The gradients, and the squared norms of the states' gradients on the way. May be called more than once.

        Args:
            inputs: as in `forward`.
            parameters: as in `forward`.
            saved: what `forward` returned.
            by_outputs: the gradients by the outputs; None where one is zero.
            by_final: those by the final states; None where one is zero.
            need: for every input and then every parameter, whether its gradient is needed.

        Returns:
            The gradients by the inputs and the parameters, None where none is needed, and by the initial states.
        """


class ScanKernel(ABC):
    """The plan of a scan that a target has built for one dtype and device.

    Attributes:
        takes_strided: whether steps, examples and heads of an input may lie anywhere. Others get contiguous inputs.
    """

    takes_strided: ClassVar[bool] = False

    def __init__(self, plan: ScanPlan, dtype: torch.dtype) -> None:
        self.plan, self.dtype = plan, dtype

    @abstractmethod
    def start(
        self, sizes: Mapping[str, int], mask: Maybe, squares: Sequence[Maybe], checkpoint_steps: int | None
    ) -> ScanPass:
        """Begin a pass.

        Args:
            sizes: ``steps``, ``batch`` and ``heads``, and the elements of every axis, each at least 1.
            mask: as in `Kernel.start`.
            squares: as there.
            checkpoint_steps: keep the states of every so many steps, and compute those between again; None leaves the
                choice to the kernel. No gradient depends on it.
        """


class ChainKernel(ABC):
    """The plan of a chain that a target has built for one dtype and device; see `longlag.kernels.rows`.

    Of every input the first `lead` axes are those of the rows, and one axis in memory; the others are contiguous.
    """

    def __init__(self, plan: ChainPlan, dtype: torch.dtype) -> None:
        self.plan, self.dtype = plan, dtype

    @abstractmethod
    def places(self, inputs: Sequence[Tensor], lead: int) -> list[Place]:
        """Where the inputs lie, for `backward`."""

    @abstractmethod
    def forward(
        self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], lead: int, keep: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs, and what `backward` reads; `keep`: whether it will be called.

        Raises:
            ValueError: for a weight or parameter that does not fit.
        """

    @abstractmethod
    def backward(
        self,
        inputs: Sequence[Tensor],
        parameters: Sequence[Tensor],
        kept: Sequence[Tensor],
        places: Sequence[Place],
        by_outputs: Sequence[Tensor],
        lead: int,
        need: Sequence[bool],
    ) -> list[Maybe]:
        """The gradients by inputs, which lie as those do, and by parameters; `need` says which are needed."""


class Target(ABC):
    """A way to run compiled cells.

    Attributes:
        name: the name it is registered under.
        devices: the kinds of device it runs on, as ``torch.device.type``.
        automatic: whether ``kernel="compiled"`` and ``"auto"`` may choose it. Others run only where a layer names them.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]]
    automatic: ClassVar[bool] = True

    @abstractmethod
    def refusal(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> str | None:
        """Why this target does not run that plan in that dtype on that device (of one of its kinds), as one sentence
        without a full stop; None when it does. Cheap: it builds nothing."""

    @abstractmethod
    def build(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> Kernel:
        """The kernel of a plan that was not refused. Called once for a cell, dtype and device.

        Raises:
            CannotBuild: saying why.
        """

    def scan_refusal(self, plan: ScanPlan, dtype: torch.dtype, device: torch.device) -> str | None:
        """As `refusal`, for a scan. By default a target runs none."""
        return f"the target {self.name} runs gated cells, and {plan.name} is none"

    def build_scan(self, plan: ScanPlan, dtype: torch.dtype, device: torch.device) -> ScanKernel:
        """As `build`, for a scan.

        Raises:
            CannotBuild: saying why.
        """
        raise CannotBuild(f"the target {self.name} runs gated cells only")

    def chain_refusal(self, plan: ChainPlan, dtype: torch.dtype, device: torch.device) -> str | None:
        """As `refusal`, for a chain. By default a target runs none."""
        return f"the target {self.name} runs no chains of rows"

    def build_chain(self, plan: ChainPlan, dtype: torch.dtype, device: torch.device) -> ChainKernel:
        """As `build`, for a chain.

        Raises:
            CannotBuild: saying why.
        """
        raise CannotBuild(f"the target {self.name} runs no chains of rows")

    @abstractmethod
    def tags(self, device: torch.device) -> Mapping[str, str]:
        """What decides the bits of its kernels besides their source, such as versions and flags: tags of a run."""

    def cached(self) -> Cached | None:
        """What it has built and keeps on the disk, for `longlag doctor`; None where it keeps nothing."""
        return None

    def maps(self, dtype: torch.dtype, device: torch.device) -> Maps | None:
        """Maps from parameters to weights for such tensors, if this target has them."""
        return None

    def attention(self, dtype: torch.dtype, device: torch.device) -> Attention | None:
        """Causal attention for such tensors, if this target has it."""
        return None
