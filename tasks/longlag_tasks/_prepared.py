"""What takes long to prepare is prepared once: an Arrow table in the user's cache folder, verified when it is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from longlag.task import Damaged, cache_folder, exclusive, verify, writing_with_checksum

log = logging.getLogger("longlag")

ROWS = 100
"""In a batch of an Arrow file."""


def prepared(mark: str, columns: dict[str, str], rows: Callable[[], Iterator[dict[str, Any]]]) -> Any:
    """A `datasets.Dataset` of the given rows: read where it was prepared before, else made; one process makes it.

    Args:
        mark: what identifies the content; anything that changes it changes the mark.
        columns: name -> Arrow type; in brackets, ``[float32]``, for a list of any length.
        rows: makes them.
    """
    import datasets
    import pyarrow as pa

    path = cache_folder() / f"{mark}.arrow"
    if not _whole(path, log_damage=False):
        with exclusive(path.with_suffix(".lock")):
            if not _whole(path, log_damage=True):  # another process may have made it meanwhile
                kinds = {name: pa.type_for_alias(kind.strip("[]")) for name, kind in columns.items()}
                schema = pa.schema({n: pa.list_(kinds[n]) if columns[n].startswith("[") else kinds[n] for n in kinds})
                with writing_with_checksum(path) as draft, pa.ipc.new_stream(draft, schema) as stream:
                    made = rows()
                    while batch := list(islice(made, ROWS)):
                        stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
    return datasets.Dataset.from_file(str(path))


def _whole(path: Path, log_damage: bool) -> bool:
    """Whether a table is there as it was written."""
    try:
        verify(path)
    except FileNotFoundError:
        return False
    except (OSError, Damaged) as error:
        if log_damage:
            log.warning("%s is prepared again: %s", path, error, exc_info=True)
        return False
    return True


def lists(table: Any, name: str) -> tuple[Any, Any]:
    """A list column's values end to end, and where each row's begin (one more than rows)."""
    column = table.data.column(name).combine_chunks()
    column = column.chunk(0) if hasattr(column, "chunk") else column
    offsets = column.offsets.to_numpy().astype("int64")
    return column.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]], offsets - offsets[0]
