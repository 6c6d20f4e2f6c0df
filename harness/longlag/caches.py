"""The folder where tasks keep what takes long to prepare, outside of every home."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir


def cache_folder() -> Path:
    """``$LONGLAG_CACHE``, else ``longlag`` in the user's cache folder, else in a temporary one."""
    given = os.environ.get("LONGLAG_CACHE")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longlag"
    shared = Path(gettempdir()) / f"longlag-{os.getuid()}"
    for folder in [Path(given)] if given else [usual, shared]:
        try:
            folder.mkdir(mode=0o700 if folder == shared else 0o777, parents=True, exist_ok=True)
        except OSError:
            continue
        # anybody may make a folder of that name where everybody may write
        ours = folder != shared or (folder.lstat().st_uid == os.getuid() and not folder.lstat().st_mode & 0o022)
        if ours and os.access(folder, os.W_OK):
            return folder
    raise OSError(f"no folder to keep prepared data in: {given or usual} cannot be written; set LONGLAG_CACHE")
