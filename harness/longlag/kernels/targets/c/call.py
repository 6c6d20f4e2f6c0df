"""The C structs ``Call``, each written down in one header alone: this module reads that and packs the fields."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType

from longlag.kernels.targets.c.resources import resource

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
BODY = re.compile(r"typedef struct \{(.*?)\} Call;", re.DOTALL)
HEADER = "call.h"
"""Of gated cells; scans have `scan_call.h`."""
DECLARATION = re.compile(r"(?:const )?(?:unsigned )?\w+ (.+)", re.DOTALL)
DECLARATOR = re.compile(r"\*?(?P<name>\w+)(?:\[(?P<times>N_\w+)\])?")


Field = int | Sequence[int]
"""The value of a field of a ``Call``."""


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
        self._pack, self._counts = packed.pack, fields
        self._constant = dict(constant)

    def packer(self, names: Sequence[str | tuple[str, ...]]) -> Callable[..., bytes]:
        """A function that packs the struct from the values of these fields, in this order.

        A value is a number, or as many as the field holds. A tuple of names, fields that follow each other in the
        struct, has one list for all of them. All other fields are constant or zero.

        Raises:
            KeyError: when the struct has no such field, or not in that order.
        """
        groups = {name[0]: name for name in names if isinstance(name, tuple)}
        inside = {name for group in groups.values() for name in group[1:]}
        alone = [name[0] if isinstance(name, tuple) else name for name in names]
        fields = list(self._counts)
        if unknown := {*alone, *inside} - self._counts.keys():
            raise KeyError(*sorted(unknown))
        for first, group in groups.items():
            start = fields.index(first)
            if tuple(fields[start : start + len(group)]) != group:
                raise KeyError(*group)

        def argument(name: str, count: int | None) -> str:
            if name in alone:
                return name if count is None and name not in groups else f"*{name}"
            return str(self._constant.get(name, 0)) if count is None else f"*{(0,) * count}"

        # One expression of positional arguments: a loop or a mapping would take microseconds of every pass.
        arguments = ", ".join(argument(name, count) for name, count in self._counts.items() if name not in inside)
        made: Callable[..., bytes] = eval(f"lambda {', '.join(alone)}: pack({arguments})", {"pack": self._pack})
        return made
