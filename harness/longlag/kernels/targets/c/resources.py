"""The C files beside this module, and putting them together into one source.

A library is built from one text, whose hash names it in the cache. So an ``#include "name"`` of a file of this folder
is replaced by that file, once; ``#line`` keeps the compiler's messages on the file and line that a reader can open.
Includes in angle brackets stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

INCLUDE = re.compile(r'#include "([\w.]+)"')


@cache
def resource(name: str) -> str:
    """The text of a C file of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def assemble(name: str, defines: Mapping[str, int], generated: Mapping[str, str] | None = None) -> str:
    """One source from a file and all that it includes.

    Args:
        name: of the file.
        defines: macros that it is compiled with.
        generated: texts of included files that are not in the folder, by name.
    """
    known, included = generated or {}, set()

    def text(name: str) -> str:
        included.add(name)
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate((known[name] if name in known else resource(name)).splitlines(), 1):
            include = INCLUDE.match(line)
            if include is None:
                lines.append(line)
            elif include[1] not in included:
                lines += [text(include[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("")
        return "\n".join(lines)

    macros = "".join(f"#define {macro} {value}\n" for macro, value in defines.items())
    return f"/* Put together by longlag. */\n{macros}{text(name)}\n"
