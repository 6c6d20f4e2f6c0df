"""An orthogonal parametrisation for the recurrent matrices of any gated layer, by torch's own."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from longlag.cells.base import GatedLayer
from longlag.errors import UserError

Map = Literal["matrix_exp", "cayley", "householder"]


class Blocks(nn.Module):
    """A packed matrix ``[R * H, C * H]`` from its R * C blocks ``[R * C, H, H]``, row of blocks by row of blocks."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, blocks: Tensor) -> Tensor:
        size = blocks.shape[-1]
        grid = blocks.unflatten(0, (self.rows, self.columns))
        packed: Tensor = grid.transpose(1, 2).reshape(self.rows * size, self.columns * size)
        return packed

    def right_inverse(self, packed: Tensor) -> Tensor:
        size = packed.shape[0] // self.rows
        grid = packed.reshape(self.rows, size, self.columns, size).transpose(1, 2)
        return grid.reshape(self.rows * self.columns, size, size)


def orthogonalise(
    layer: GatedLayer, generator: torch.Generator | None = None, how: Map = "matrix_exp"
) -> tuple[str, ...]:
    """Keep every recurrent ``[H, H]`` matrix of `layer` orthogonal: each gate's, from each of its sources.

    The matrices are drawn anew, uniformly from the orthogonal ones; then
    ``torch.nn.utils.parametrizations.orthogonal`` composes them from unconstrained parameters.

    Args:
        layer: a gated layer whose recurrent parameters are dense matrices of gates; changed in place.
        generator: where the matrices come from.
        how: the map of torch's parametrisation.

    Returns:
        The names of the parameters that were parametrised.

    Raises:
        UserError: when the layer has no such matrices (a cell that composes its own, or has none).
    """
    size = layer.hidden_size
    names = tuple(name for name in layer.names if name.startswith("weight_hh"))
    shapes = [tuple(getattr(layer, name).shape) for name in names]
    if not names or any(rows % size or columns % size for rows, columns in shapes):
        raise UserError(
            f"{type(layer.cell).__name__} has no recurrent matrix [H, H] of its own to keep orthogonal: "
            "leave out model.recurrent"
        )
    for name, (rows, columns) in zip(names, shapes, strict=True):
        packed = getattr(layer, name)
        blocks = torch.empty(rows * columns // size**2, size, size, dtype=packed.dtype, device=packed.device)
        for block in blocks:
            nn.init.orthogonal_(block, generator=generator)
        shaping = Blocks(rows // size, columns // size)
        with torch.no_grad():
            packed.copy_(shaping(blocks))
        parametrize.register_parametrization(layer, name, shaping)
        # the blocks are the parametrised tensor's original: parametrise that in turn
        holder = cast(nn.ModuleDict, layer.parametrizations)[name]
        parametrizations.orthogonal(holder, "original", orthogonal_map=how)
    return names
