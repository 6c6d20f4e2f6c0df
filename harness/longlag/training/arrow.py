"""Arrow files of tables that take long to draw, verified when read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa

from longlag import files
from longlag.log import log


def cached(path: Path, draw: Callable[[], datasets.Dataset]) -> datasets.Dataset:
    """The table in a file; where it is not there, or damaged, it is drawn and written first.

    It is held in memory, not mapped: nothing that happens to the file later changes a number. Processes that draw the
    same table at once write the same bytes.
    """
    try:
        return datasets.Dataset.from_buffer(pa.py_buffer(files.read_with_checksum(path)))
    except FileNotFoundError:
        pass  # it is drawn for the first time, or was not written to its end
    except (OSError, ValueError) as error:
        log.warning("%s is drawn again: %s", path, error, exc_info=True)
    table = draw()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.data.schema) as stream:
            stream.write_table(table.data.table)
        files.write_with_checksum(path, sink.getvalue().to_pybytes())
    except OSError as error:
        log.warning("%s cannot be kept, and will be drawn again: %s", path, error, exc_info=True)
    return table
