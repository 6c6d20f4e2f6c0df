"""Kernel targets: what builds the plan of a cell into a kernel. Each is a folder and a line in ``longlag.targets``.

Targets register by entry points of that group, those of longlag as those of other packages do; see
docs/adding-a-target.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from torch import Tensor

from longlag import registry
from longlag.errors import UserError
from longlag.kernels.attention import Attention
from longlag.kernels.maps import Maps
from longlag.kernels.targets.target import (
    PLAIN,
    Cached,
    CannotBuild,
    ChainKernel,
    Kernel,
    Maybe,
    Pass,
    ScanKernel,
    ScanPass,
    Shapes,
    Target,
)
from longlag.log import log

__all__ = [
    "PLAIN",
    "Cached",
    "CannotBuild",
    "ChainKernel",
    "Kernel",
    "Maybe",
    "Pass",
    "ScanKernel",
    "ScanPass",
    "Shapes",
    "Target",
    "attention_for",
    "automatic",
    "maps_for",
    "registered",
]


@cache
def registered() -> Mapping[str, Target]:
    """Every target by name: first those of longlag, then those of other packages, each sorted by name.

    One that cannot be imported is left out, with a warning.
    """
    found: dict[str, Target] = {}
    names = registry.names("target")
    for name in sorted(names, key=lambda name: not registry.origin("target", name).startswith("longlag ")):
        try:
            found[name] = registry.load("target", name)()
        except UserError as error:
            log.warning("%s", error)
    return MappingProxyType(found)


@cache
def automatic(device: str) -> tuple[Target, ...]:
    """The targets that ``kernel="compiled"`` chooses from on a kind of device, the preferred one first."""
    return tuple(target for target in registered().values() if target.automatic and device in target.devices)


def maps_for(like: Tensor) -> Maps | None:
    """The maps that a target has for tensors like `like`; None where torch's operations have to do."""
    if type(like) not in PLAIN:
        return None
    for target in automatic(like.device.type):
        maps = target.maps(like.dtype, like.device)
        if maps is not None:
            return maps
    return None


def attention_for(like: Tensor) -> Attention | None:
    """The attention that a target has for tensors like `like`; None where torch's has to do."""
    if type(like) not in PLAIN:
        return None
    found = (target.attention(like.dtype, like.device) for target in automatic(like.device.type))
    return next((attention for attention in found if attention is not None), None)
