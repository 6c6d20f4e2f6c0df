"""Functions of rows that stand around many cells: norms, gates, gated linear units; one pass over memory each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.kernels import Named, RowFunction

EPSILON = 1e-5
"""Added to a mean of squares before its root is taken."""


class Normed(RowFunction):
    """y / sqrt(mean y^2 + eps) * w."""

    inputs, parameters, outputs = ("y",), ("w",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y * torch.rsqrt(self.mean(x.y.square()) + EPSILON) * p.w}


class NormedGated(RowFunction):
    """y / sqrt(mean y^2 + eps) * w * silu(g)."""

    inputs, parameters, outputs = ("y", "g"), ("w",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y * torch.rsqrt(self.mean(x.y.square()) + EPSILON) * p.w * F.silu(x.g)}


class GatedNormed(RowFunction):
    """z / sqrt(mean z^2 + eps) * w of z = y * silu(g)."""

    inputs, parameters, outputs = ("y", "g"), ("w",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        z = x.y * F.silu(x.g)
        return {"h": z * torch.rsqrt(self.mean(z.square()) + EPSILON) * p.w}


class Gated(RowFunction):
    """y * silu(g)."""

    inputs, outputs = ("y", "g"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y * F.silu(x.g)}


class Opened(RowFunction):
    """y * sigmoid(g)."""

    inputs, outputs = ("y", "g"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y * torch.sigmoid(x.g)}


class Gelu(RowFunction):
    """gelu(y), exact."""

    inputs, outputs = ("y",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": F.gelu(x.y)}


class Skipped(RowFunction):
    """y + d * u."""

    inputs, parameters, outputs = ("y", "u"), ("d",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y + p.d * x.u}


class Tanh(RowFunction):
    """tanh(y)."""

    inputs, outputs = ("y",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": torch.tanh(x.y)}


class Unit(RowFunction):
    """x / sqrt(sum x^2 + 1e-6), of length 1; divided by the root of the row's length where it is a query's."""

    inputs, outputs = ("x",), ("h",)

    def __init__(self, query: bool) -> None:
        self.query = query

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        square = self.sum(x.x.square()) + 1e-6
        return {"h": x.x * torch.rsqrt(square * self.sum(torch.ones_like(x.x)) if self.query else square)}


class GeluGated(RowFunction):
    """y * gelu(g)."""

    inputs, outputs = ("y", "g"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y * F.gelu(x.g)}


class Added(RowFunction):
    """y + r."""

    inputs, outputs = ("y", "r"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.y + x.r}


class LayerNormed(RowFunction):
    """(x - mean x) / sqrt(var x + eps) * w + b."""

    inputs, parameters, outputs = ("x",), ("w", "b"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        centred = x.x - self.mean(x.x)
        return {"h": centred * torch.rsqrt(self.mean(centred.square()) + EPSILON) * p.w + p.b}


NORMED, NORMED_GATED, GATED_NORMED = Normed(), NormedGated(), GatedNormed()
GATED, OPENED, GELU, SKIPPED, TANH = Gated(), Opened(), Gelu(), Skipped(), Tanh()
GELU_GATED, ADDED, LAYER_NORMED = GeluGated(), Added(), LayerNormed()
KEY, QUERY = Unit(False), Unit(True)
"""One object each: a function is built once for an object."""
