"""Small stacks of layers for the suites: built, run and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from longlag.cells import Cell, Compilable, Looped, Stack, StateGradients
from longlag.cells.stack import StackState
from longlag.kernels import Kernel

I = 3  # noqa: E741  the field's name for the input size


def build(cell: Cell, hidden_size: int = 5, depth: int = 1, seed: int = 0, kernel: Kernel = "plain") -> Stack:
    """A stack with parameters from a seed, run by one kernel."""
    stack = Stack(cell, I, hidden_size, depth, torch.Generator().manual_seed(seed))
    use(stack, kernel)
    return stack


def use(stack: Stack, kernel: Kernel, checkpoint_steps: int | None = None) -> None:
    """Choose how every layer with a core in a stack runs."""
    for module in stack.modules():
        if isinstance(module, Compilable):
            module.kernel = kernel
        if isinstance(module, Looped):
            module.checkpoint_steps = checkpoint_steps


def flat(state: StackState) -> list[Tensor]:
    """Every tensor of a state, the lowest layer's first."""
    return [tensor for layer in state for tensor in layer.values()]


def random_state(stack: Stack, batch: int, generator: torch.Generator) -> StackState:
    """A state a little away from the initial one: every number that is real and free may be anything."""
    return tuple(
        {
            name: value.detach() + 0.3 * torch.rand(value.shape, generator=generator).to(value.dtype)
            if value.is_floating_point()
            else value
            for name, value in layer.items()
        }
        for layer in stack.initial_state(batch)
    )


def gradients(
    stack: Stack,
    x: Tensor,
    state: StackState | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
) -> tuple[dict[str, Tensor], list[StateGradients]]:
    """Outputs, final state and all gradients of a loss that weighs every output and every final state."""
    for parameter in stack.parameters():
        parameter.grad = None
    x = x.clone().requires_grad_()
    given = None
    if state is not None:  # a state may be a number of steps
        given = tuple({n: v.clone().requires_grad_(v.is_floating_point()) for n, v in s.items()} for s in state)
    records = [StateGradients() for _ in stack.layers]
    outputs, final = stack(x, given, mask, records)
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(outputs.shape, generator=generator).to(outputs.dtype) if weight is None else weight
    loss = (outputs * weight).sum()
    loss = loss + sum(t.square().sum() for t in flat(final) if t.is_floating_point() and t.requires_grad)
    loss.backward()
    result = {"outputs": outputs.detach(), "dL/dx": _grad(x)}
    result.update({f"final {k}": t.detach() for k, t in enumerate(flat(final))})
    result.update({f"dL/d{name}": _grad(p) for name, p in stack.named_parameters()})
    if given is not None:
        result.update({f"dL/dstate {k}": _grad(t) for k, t in enumerate(flat(given)) if t.requires_grad})
    return result, records


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def assert_same(got: Mapping[str, Tensor], want: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    """Every named tensor agrees; the tolerance is relative to the largest number of the tensor."""
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        scale = max(1.0, float(tensor.abs().max())) if tensor.numel() else 1.0
        torch.testing.assert_close(got[name], tensor, rtol=rtol, atol=atol * scale, msg=naming(name))


def naming(name: str) -> Callable[[str], str]:
    return lambda text: f"{name}: {text}"


def assert_padding_is_inert(stack: Stack, random: torch.Generator) -> None:
    """Bit for bit: outputs of existing steps, the final state, and the input's gradient; padding's is zero."""
    lengths = torch.tensor([8, 8, 8])
    x = torch.randn(8, 3, I, generator=random)
    padded = torch.cat([x, 7 + torch.randn(5, 3, I, generator=random)])
    mask = torch.arange(13)[:, None] < lengths
    weight = torch.randn(8, 3, stack.output_size, generator=random)
    want, _ = gradients(stack, x, weight=weight)
    got, _ = gradients(stack, padded, mask=mask, weight=torch.cat([weight, torch.zeros_like(weight[:5])]))
    assert torch.equal(got["outputs"][:8], want["outputs"])
    assert torch.equal(got["dL/dx"][:8], want["dL/dx"])
    assert not got["dL/dx"][8:].any()
    for name in want:
        if name.startswith("final"):
            assert torch.equal(got[name], want[name]), name
        elif name.startswith("dL/d") and name != "dL/dx":
            torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-5)


def assert_not_finite_comes_through(stack: Stack, random: torch.Generator) -> None:
    """A diverged run must not look healthy: NaN in an input reaches the outputs, in a gradient the weights."""
    x = torch.randn(6, 3, I, generator=random)
    spoilt = x.clone()
    spoilt[2, 1] = math.nan
    outputs, _ = stack(spoilt)
    assert outputs[2:, 1].isnan().any() and outputs[:, [0, 2]].isfinite().all()
    for value in (math.nan, math.inf):
        weight = torch.ones(6, 3, stack.output_size)
        weight[4, 1] = value
        got, _ = gradients(stack, x, weight=weight)
        found = [name for name, g in got.items() if name.startswith("dL/d") and not g.isfinite().all()]
        assert found, f"a gradient of {value} was swallowed"
