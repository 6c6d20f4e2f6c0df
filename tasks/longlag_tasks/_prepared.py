"""What takes long to prepare is prepared once: an Arrow table in the user's cache folder, by its content's name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from longlag.task import DataError


def cache_folder() -> Path:
    """``$LONGLAG_CACHE``, else ``longlag`` in the user's cache folder, else in a temporary one."""
    given = os.environ.get("LONGLAG_CACHE")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longlag"
    for folder in [Path(given)] if given else [usual, Path(gettempdir()) / f"longlag-{os.getuid()}"]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise OSError(f"no folder to keep prepared data in: {given or usual} cannot be written; set LONGLAG_CACHE")


def prepared(mark: str, columns: dict[str, str], rows: Callable[[], Iterator[dict[str, Any]]]) -> Any:
    """A `datasets.Dataset` of the given rows: read where it was prepared before, else made; one process makes it.

    Args:
        mark: what identifies the content; anything that changes it changes the mark.
        columns: name -> Arrow type; in brackets, ``[float32]``, for a list of any length.
        rows: makes them.

    Raises:
        DataError: what `rows` raises comes out as it is, not wrapped by the library.
    """
    import datasets

    def feature(kind: str) -> Any:
        return datasets.List(datasets.Value(kind[1:-1])) if kind.startswith("[") else datasets.Value(kind)

    datasets.disable_progress_bars()
    features = datasets.Features({name: feature(kind) for name, kind in columns.items()})
    # from_generator holds a file lock while it writes, and renames the finished table into place
    try:
        return datasets.Dataset.from_generator(rows, features=features, cache_dir=str(cache_folder()), fingerprint=mark)
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


def lists(table: Any, name: str) -> tuple[Any, Any]:
    """A list column's values end to end, and where each row's begin (one more than rows)."""
    column = table.data.column(name).combine_chunks()
    column = column.chunk(0) if hasattr(column, "chunk") else column
    offsets = column.offsets.to_numpy().astype("int64")
    return column.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]], offsets - offsets[0]
