"""The C struct ``Call``, which is written down in `call.h` alone: this module reads that file and packs the fields."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from functools import cache

from longlag.kernels.targets.c.resources import resource

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
BODY = re.compile(r"typedef struct \{(.*?)\} Call;", re.DOTALL)
DECLARATION = re.compile(r"(?:const )?(?:unsigned )?\w+ (.+)", re.DOTALL)
DECLARATOR = re.compile(r"\*?(?P<name>\w+)(?:\[(?P<times>N_\w+)\])?")


Fields = Mapping[str, int | Sequence[int]]
"""Some fields of a ``Call``, by name."""


@cache
def declared() -> tuple[tuple[str, str | None], ...]:
    """Name and array size, a macro or None, of every field of the struct in order.

    Raises:
        ValueError: when the header holds a declaration of another form.
    """
    found = []
    body = BODY.search(COMMENT.sub("", resource("call.h")))
    for line in (body.group(1) if body else "no struct Call").strip().removesuffix(";").split(";"):
        declaration = DECLARATION.fullmatch(line.strip())
        for part in declaration.group(1).split(",") if declaration else (line,):
            declarator = DECLARATOR.fullmatch(part.strip())
            if declarator is None:
                raise ValueError(f"call.h: {part.strip()!r} is no declaration of a field")
            found.append((declarator["name"], declarator["times"]))
    return tuple(found)


class CallLayout:
    """The struct of one cell.

    Args:
        sizes: the array sizes, ``N_STATES`` and so on.

    Attributes:
        fields: how many numbers or addresses every field holds, by name and in order.
        size: of the struct in bytes.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.fields = {name: 1 if times is None else sizes[times] for name, times in declared()}
        self._absent = [(name, [0] * count) for name, count in self.fields.items()]
        self._struct = struct.Struct(f"{sum(self.fields.values())}q")
        self.size = self._struct.size

    def pack(self, values: Fields) -> bytes:
        """The struct with these fields, a number or as many as the field holds, and zeros in all others.

        Raises:
            KeyError: when the struct has no such field.
            struct.error: when an array has another length.
        """
        flat: list[int] = []
        missing = 0
        for name, absent in self._absent:
            value = values.get(name)
            if value is None:
                flat += absent
                missing += 1
            elif type(value) is int:
                flat.append(value)
            else:
                flat += value  # type: ignore[arg-type]
        if len(values) != len(self._absent) - missing:
            raise KeyError(*sorted(values.keys() - self.fields.keys()))
        return self._struct.pack(*flat)
