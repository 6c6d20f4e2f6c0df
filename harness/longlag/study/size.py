"""Equal parameter counts: the hidden size at which a run's network has about so many trainable numbers."""

from __future__ import annotations

from functools import cache

import torch

from longlag.errors import UserError
from longlag.models import build
from longlag.spec import RunSpec, load_run

LARGEST = 16_384
SPAN = 64
"""Of this many sizes in a row a cell has to take one, such as a multiple of its heads."""


def parameters(spec: RunSpec) -> int:
    """Trainable numbers of a run's network."""
    generator = torch.Generator().manual_seed(0)
    network = build(spec.task.build().signature, spec.cell.build(), spec.model, generator)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def sized(spec: RunSpec, target: int) -> RunSpec:
    """The same run with the hidden size whose parameter count is nearest to `target`.

    Raises:
        UserError: when one unit is already more than twice too large.
    """
    fields = spec.model_dump(mode="json")
    probe = load_run({**fields, "seed": 0, "model": {**fields["model"], "hidden_size": 1}})
    size = _solve(probe.canonical(), target)
    return load_run({**fields, "model": {**fields["model"], "hidden_size": size}})


@cache
def _solve(canonical: str, target: int) -> int:
    """Bisection: the count rises with the hidden size. Sizes that a cell refuses are stepped over."""
    spec = RunSpec.model_validate_json(canonical)

    def count(size: int) -> int | None:
        try:
            return parameters(spec.model_copy(update={"model": spec.model.model_copy(update={"hidden_size": size})}))
        except (UserError, ValueError):  # such as an odd size where a cell needs an even one
            return None

    def at_least(size: int) -> tuple[int, int] | None:
        found = ((each, count(each)) for each in range(size, size + SPAN))
        return next(((each, number) for each, number in found if number is not None), None)

    high = 1
    while (here := at_least(high)) is not None and here[1] < target and high < LARGEST:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        here = at_least(middle)
        if here is not None and here[1] < target:
            low = middle
        else:
            high = middle
    below = next((size for size in range(low, max(0, low - SPAN), -1) if count(size)), low)
    above = here[0] if (here := at_least(high)) else high
    # the neighbours too: a count need not rise with every size
    sizes: set[int] = {*range(max(1, low - 2), high + 3), below, above}
    near = [(abs(number - target), size) for size in sorted(sizes) if (number := count(size))]
    if not near:
        raise UserError(f"parameters: {spec.cell.name} allows no hidden size with about {target:,} parameters")
    distance, nearest = min(near)
    if distance > target:
        raise UserError(
            f"parameters: {spec.cell.name} has more than {2 * target:,} with one unit; {target:,} are too few"
        )
    return nearest
