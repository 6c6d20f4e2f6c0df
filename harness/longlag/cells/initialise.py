"""Initialisations that several families share, and the check that an option is not set for nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from longlag.errors import UserError
from longlag.options import Options

Init = Literal["uniform", "glorot", "normal", "orthogonal"]


def draw(
    parameters: Mapping[str, Tensor],
    hidden_size: int,
    generator: torch.Generator | None,
    init: Init = "uniform",
    *,
    bound: float | None = None,
    std: float = 0.1,
) -> None:
    """Draw all parameters of a gated layer in place.

    Args:
        parameters: by name; ``bias...`` are biases, matrices are packed blocks of `hidden_size` rows and columns
            (``weight_ih`` has the inputs as columns), vectors are per-unit parameters.
        hidden_size: H.
        generator: where the numbers come from.
        init: ``uniform``, everything U(-bound, bound), as ``torch.nn`` does. ``glorot`` (Glorot and Bengio 2010),
            every ``[H, n]`` matrix U(-a, a) with a = sqrt(6 / (H + n)), all vectors zero. ``normal``, matrices and
            per-unit parameters N(0, std^2), biases zero. ``orthogonal`` (Saxe et al. 2014), every ``[H, H]`` matrix
            orthogonal, input matrices as ``glorot``, all vectors zero.
        bound: of ``uniform``; 1/sqrt(H) if None.
        std: of ``normal``.
    """
    for name, tensor in parameters.items():
        if init == "uniform":
            limit = 1 / math.sqrt(hidden_size) if bound is None else bound
            tensor.uniform_(-limit, limit, generator=generator)
        elif name.startswith("bias"):
            tensor.zero_()
        elif init == "normal":
            tensor.normal_(0, std, generator=generator)
        elif tensor.dim() == 1:
            tensor.zero_()
        elif init == "glorot" or name == "weight_ih":
            columns = tensor.shape[1] if name == "weight_ih" else hidden_size
            glorot(tensor, columns, hidden_size, generator)
        else:
            for rows in tensor.split(hidden_size):
                for block in rows.split(hidden_size, dim=1):
                    nn.init.orthogonal_(block, generator=generator)


def glorot(tensor: Tensor, fan_in: int, fan_out: int, generator: torch.Generator | None) -> None:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), in place (Glorot and Bengio 2010)."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    tensor.uniform_(-limit, limit, generator=generator)


def chrono(like: Tensor, longest: float, generator: torch.Generator | None) -> Tensor:
    """log u with u ~ U([1, longest - 1]): a gate bias that forgets in about u steps (Tallec and Ollivier 2018)."""
    return torch.empty_like(like).uniform_(1, longest - 1, generator=generator).log_()


def spread(tensor: Tensor, values: float | Sequence[float], field: str) -> None:
    """Fill ``tensor [n]`` with one value, or with a sequence of values for as many equal groups of units.

    Raises:
        UserError: when the number of units is no multiple of the number of values.
    """
    given = torch.as_tensor([values] if isinstance(values, float | int) else list(values), dtype=tensor.dtype)
    if len(tensor) % len(given):
        raise UserError(f"{field}: {len(given)} values for {len(tensor)} units or blocks: it has to divide them")
    tensor.copy_(given.repeat_interleave(len(tensor) // len(given)))


def refuse_unused(options: Options, field: str, why: str) -> None:
    """Refuse a value of `field` other than its default where it would change nothing.

    Raises:
        ValueError: saying `why` it would not.
    """
    if getattr(options, field) != type(options).model_fields[field].default:
        raise ValueError(f"{field} has no effect {why}")


def half_lives(longest: float, shortest: float, count: int) -> Tensor:
    """`count` numbers of steps, evenly spaced on a logarithmic scale, the last one the longest."""
    low, high = math.log(shortest), math.log(longest)
    return torch.linspace(high, low, count, dtype=torch.float64).exp().flip(0)


def retained(half_lives: Tensor) -> Tensor:
    """The factor a step of what is halved in so many steps."""
    return torch.exp2(-1 / half_lives)
