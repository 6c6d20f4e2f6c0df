"""The C structs ``Call``, each written down in one header alone: this module reads that and packs the fields."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from longlag.kernels.targets.c.resources import resource

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
BODY = re.compile(r"typedef struct \{(.*?)\} Call;", re.DOTALL)
HEADER = "call.h"
"""Of gated cells; scans have `scan_call.h`."""
DECLARATION = re.compile(r"(?:const )?(?:unsigned )?\w+ (.+)", re.DOTALL)
DECLARATOR = re.compile(r"\*?(?P<name>\w+)(?:\[(?P<times>N_\w+)\])?")


Fields = dict[str, int | Sequence[int]]
"""Some fields of a ``Call``, by name."""


@cache
def declared(header: str = HEADER) -> tuple[tuple[str, str | None], ...]:
    """Name and array size, a macro or None, of every field of the struct in order.

    Raises:
        ValueError: when the header holds a declaration of another form.
    """
    found = []
    body = BODY.search(COMMENT.sub("", resource(header)))
    for line in (body.group(1) if body else "no struct Call").strip().removesuffix(";").split(";"):
        declaration = DECLARATION.fullmatch(line.strip())
        for part in declaration.group(1).split(",") if declaration else (line,):
            declarator = DECLARATOR.fullmatch(part.strip())
            if declarator is None:
                raise ValueError(f"{header}: {part.strip()!r} is no declaration of a field")
            found.append((declarator["name"], declarator["times"]))
    return tuple(found)


class CallLayout:
    """The struct of one cell.

    Args:
        sizes: the array sizes, ``N_STATES`` and so on.
        constant: fields that are the same in every call.
        header: where the struct is written down.

    Attributes:
        fields: how many numbers or addresses every field holds, by name and in order.
        size: of the struct in bytes.
    """

    def __init__(
        self, sizes: Mapping[str, int], constant: Mapping[str, int] = MappingProxyType({}), header: str = HEADER
    ) -> None:
        fields = {name: None if times is None else sizes[times] for name, times in declared(header)}
        self.fields = {name: 1 if count is None else count for name, count in fields.items()}
        packed = struct.Struct(f"{sum(self.fields.values())}q")
        self.size = packed.size
        self._absent: Fields = {
            **{name: 0 if count is None else [0] * count for name, count in fields.items()},
            **constant,
        }
        # One expression: a loop over the fields would take several microseconds of every pass.
        arguments = ", ".join(f"v[{name!r}]" if count is None else f"*v[{name!r}]" for name, count in fields.items())
        self._pack = eval(f"lambda v: pack({arguments})", {"pack": packed.pack})

    def pack(self, values: Fields) -> bytes:
        """The struct with these fields, a number or as many as the field holds; all others are constant or zero.

        Raises:
            KeyError: when the struct has no such field.
            struct.error: when an array has another length.
        """
        every = self._absent | values
        if len(every) != len(self._absent):
            raise KeyError(*sorted(values.keys() - self._absent.keys()))
        result: bytes = self._pack(every)
        return result
