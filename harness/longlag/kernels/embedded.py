"""The input weights of a cell that sees its inputs through an embedding; by a target's maps where it has them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from longlag.kernels.derived import Adjoint, Derived
from longlag.kernels.targets import maps_for

NARROW = 8
"""Inputs that a target's maps are made for; more are left to a library's matrix product."""


def embedded(packed: Tensor, embedding: Tensor, before: int) -> Derived:
    """The rows of packed E, and E itself from row `before` on; packed ``[m, H]``, E ``[H, I]``."""
    return Derived((packed, embedding), partial(embed, before))


def embed(before: int, packed: Tensor, embedding: Tensor) -> tuple[Tensor, Adjoint]:
    maps = maps_for(packed) if embedding.shape[1] <= NARROW else None
    if maps is None or maps_for(embedding) is not maps:
        return plain(before, packed, embedding)
    packed, embedding = packed.contiguous(), embedding.contiguous()
    return maps.embedded(packed, embedding, before), partial(maps.embedded_adjoint, packed, embedding, before)


def plain(before: int, packed: Tensor, embedding: Tensor) -> tuple[Tensor, Adjoint]:
    """The same by torch's operations, and the derivative by half of those that autograd would take."""
    mapped = packed @ embedding
    after = before + embedding.shape[0]

    def adjoint(gradient: Tensor) -> tuple[Tensor, Tensor]:
        of_mapped = torch.cat([gradient[:before], gradient[after:]])
        return of_mapped @ embedding.T, torch.addmm(gradient[before:after], packed.T, of_mapped)

    return torch.cat([mapped[:before], embedding, mapped[before:]]), adjoint
