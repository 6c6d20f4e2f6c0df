"""What every step of a recurrence needs and no library has: products with few rows, and stores past the caches.

Products go by register tiles. A general BLAS packs both matrices at every call. Here the weight, the same at every
step of a pass, is packed once a pass, and a tile of the result stays in registers over the whole sum: on the small
matrices of a recurrent step that is up to several times faster. The sum of a row runs in the same order whatever
rows there are besides: an example's numbers do not depend on its batch, a thread's slice or the length of a chunk.

A long forward pass keeps more than the caches hold. An ordinary store first reads the line that it overwrites: a
third of the memory traffic. Streamed, what is kept goes to memory directly.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from longlag.kernels.targets.c import blas, build
from longlag.kernels.targets.c.resources import assemble


@dataclass(frozen=True)
class Tiles:
    """Addresses of the functions of `tiles.c` for one C type, and the columns of a panel."""

    multiply: int
    multiply_from: int
    pack: int
    stream: int
    outer: int
    panel: int


def source(real: str) -> str:
    """The C text for ``float`` or ``double``."""
    return assemble("tiles.c", {"LONGLAG_DOUBLE": int(real == "double")})


@cache
def tiles(real: str) -> Tiles:
    """The products for ``float`` or ``double``, built on this machine when first asked for.

    Raises:
        BuildError: when they cannot be built.
    """
    library = build.load(source(real))
    library.longlag_panel.restype = ctypes.c_long
    library.longlag_panel.argtypes = []
    names = ("multiply", "multiply_from", "pack", "stream", "outer")
    places = {name: blas.address(library, f"longlag_{name}") for name in names}
    return Tiles(**places, panel=library.longlag_panel())
