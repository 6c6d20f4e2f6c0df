"""Weights that cells derive from other tensors, and the derivatives, in C.

On the small matrices of a recurrent layer a tensor library spends far longer between the operations than in them, and
several times as long when the data of a pass over time has just gone through the caches. The equations, and the same
by torch's operations, are in `longlag.kernels.skew` and `longlag.kernels.embedded`.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from longlag.kernels.targets.c import build, cc
from longlag.kernels.targets.c.resources import assemble
from longlag.kernels.targets.c.supported import REAL
from longlag.kernels.targets.c.tiles import tiles

ROOM = 4
"""Squarings of an exponential that are provided for at once; for more there is a second call."""


def source(real: str) -> str:
    """The C text for ``float`` or ``double``."""
    return assemble("maps.c", {"LONGLAG_DOUBLE": int(real == "double")})


class Maps:
    """The functions of `maps.c` for one C type, on contiguous tensors on the CPU.

    A map of skew-symmetric matrices takes the entries above the diagonal ``[n (n - 1) / 2]`` and returns the matrix
    ``[n, n]`` and what its adjoint wants to know. The adjoint takes the gradient by the matrix, however that lies, and
    returns the one by the entries.
    """

    def __init__(self, real: str) -> None:
        library, small = build.load(source(real)), tiles(real)
        pointer, integer, double = ctypes.c_void_p, ctypes.c_long, ctypes.c_double
        library.longlag_use.argtypes, library.longlag_use.restype = (pointer, pointer, pointer, integer), None
        library.longlag_use(small.multiply, small.pack, small.outer, small.panel)
        strided = (pointer, integer, integer, pointer)  # a gradient, how far apart its rows and columns lie; the result
        arguments = {
            "damped": (integer, pointer, double, pointer),
            "damped_adjoint": (integer, *strided),
            "cayley": (integer, pointer, integer, pointer, pointer),
            "cayley_adjoint": (integer, pointer, integer, *strided),
            "exponential": (integer, pointer, pointer, double, integer, pointer, pointer),
            "exponential_adjoint": (integer, pointer, integer, pointer, *strided),
            "embedded": (*[integer] * 4, *[pointer] * 3),
            "embedded_adjoint": (*[integer] * 4, *[pointer] * 2, *strided, pointer),
        }
        self.functions = {name: getattr(library, f"longlag_{name}") for name in arguments}
        for name, types in arguments.items():
            self.functions[name].argtypes, self.functions[name].restype = types, ctypes.c_int

    def damped(self, above: Tensor, size: int, diffusion: float) -> Tensor:
        """S - diffusion 1."""
        result = above.new_empty(size, size)
        self.functions["damped"](size, above.data_ptr(), diffusion, result.data_ptr())
        return result

    def damped_adjoint(self, gradient: Tensor) -> Tensor:
        found, strided = self.strided(gradient)
        self.functions["damped_adjoint"](gradient.shape[0], *strided)
        return found

    def cayley(self, above: Tensor, size: int, negative_ones: int) -> tuple[Tensor, Tensor]:
        """(1 + S)^{-1} (1 - S) D, D with so many -1 at its end; the inverse."""
        inverse, result = above.new_empty(size, size), above.new_empty(size, size)
        given = size, above.data_ptr(), negative_ones
        check(self.functions["cayley"](*given, inverse.data_ptr(), result.data_ptr()))
        return result, inverse

    def cayley_adjoint(self, inverse: Tensor, negative_ones: int, gradient: Tensor) -> Tensor:
        found, strided = self.strided(gradient)
        given = gradient.shape[0], inverse.data_ptr(), negative_ones
        check(self.functions["cayley_adjoint"](*given, *strided))
        return found

    def exponential(self, above: Tensor, size: int, scheme: Tensor, limit: float) -> tuple[Tensor, Tensor, int]:
        """exp(S) by the polynomial of `scheme` of S halved until its norm is at most `limit`; powers, sums and roots,
        and the number of halvings."""
        result, room = above.new_empty(size, size), ROOM
        while True:
            saved = above.new_empty(7 + room, size, size)
            given = size, above.data_ptr(), scheme.data_ptr(), limit, room
            halvings = self.functions["exponential"](*given, saved.data_ptr(), result.data_ptr())
            check(halvings < 0)
            if halvings <= room:
                return result, saved, halvings
            room = halvings

    def exponential_adjoint(self, saved: Tensor, halvings: int, scheme: Tensor, gradient: Tensor) -> Tensor:
        found, strided = self.strided(gradient)
        given = gradient.shape[0], saved.data_ptr(), halvings, scheme.data_ptr()
        check(self.functions["exponential_adjoint"](*given, *strided))
        return found

    def embedded(self, packed: Tensor, embedding: Tensor, before: int) -> Tensor:
        """The rows of packed E, and E itself from row `before` on; packed ``[m, H]``, E ``[H, I]``."""
        rows, (size, inputs) = packed.shape[0], embedding.shape
        result = packed.new_empty(rows + size, inputs)
        given = rows, size, inputs, before, packed.data_ptr(), embedding.data_ptr()
        check(self.functions["embedded"](*given, result.data_ptr()))
        return result

    def embedded_adjoint(
        self, packed: Tensor, embedding: Tensor, before: int, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        of_packed, of_embedding = torch.empty_like(packed), torch.empty_like(embedding)
        given = packed.shape[0], *embedding.shape, before, packed.data_ptr(), embedding.data_ptr()
        places = gradient.data_ptr(), *gradient.stride(), of_packed.data_ptr(), of_embedding.data_ptr()
        check(self.functions["embedded_adjoint"](*given, *places))
        return of_packed, of_embedding

    def strided(self, gradient: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Space for the gradient by the entries, and the arguments that say where both lie."""
        size = gradient.shape[0]
        found = gradient.new_empty(size * (size - 1) // 2)
        return found, (gradient.data_ptr(), *gradient.stride(), found.data_ptr())


def check(failed: bool | int) -> None:
    if failed:
        raise MemoryError("composing a matrix could not allocate its work space")


@cache
def made(real: str) -> Maps | None:
    if cc.compiler() is None:
        return None
    try:
        return Maps(real)
    except (build.BuildError, OSError):
        return None


def maps_for(dtype: torch.dtype) -> Maps | None:
    """The maps for tensors on the CPU; None for a dtype that C has no type for, and without a compiler."""
    return made(REAL[dtype]) if dtype in REAL else None
