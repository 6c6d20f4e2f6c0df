"""The folder of an export, and what of it may be replaced: an earlier export to which nobody added or changed a thing.

The file ``longlag-export.json`` lists an export's files with their checksums. No other file is ever removed.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path

from longlag import files
from longlag.errors import UserError
from longlag.tracking.home import Home

MARKER = "longlag-export.json"
OTHER = "name another folder by --to"


def mark(folder: Path, run_key: str) -> None:
    """Write the list of all files of a new export into it, and flush everything to the disk."""
    listed = {name: files.digest((folder / name).read_bytes()) for name in sorted(_names(folder))}
    fields = files.sealed({"longlag": version("longlag"), "run_key": run_key, "files": listed})
    (folder / MARKER).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    files.flush(folder)


def refuse(folder: Path, force: bool) -> None:
    """Refuse a place that an export may not take.

    Args:
        folder: where an export is to be written.
        force: an earlier export there is replaced.

    Raises:
        UserError: when anything is there but an empty folder or, with `force`, an earlier export.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink():
        what: str | None = "it is a link"
    elif not folder.is_dir():
        what = "it is a file"
    elif Path.cwd().is_relative_to(folder.resolve()):
        what = "the current folder is it, or in it"
    elif Home(folder).exists:
        what = "it is a longlag home"
    elif (folder / ".git").exists():
        what = "it is a git repository"
    elif force or not any(folder.iterdir()):
        what = foreign(folder)
    else:
        raise UserError(f"{folder} is there already; --force replaces an earlier export: {OTHER}")
    if what is not None:
        raise _refused(folder, what)


def foreign(folder: Path) -> str | None:
    """What in a folder is not as an export wrote it; None where everything is, or nothing is there."""
    if not any(folder.iterdir()):
        return None
    try:
        fields, _ = files.unsealed((folder / MARKER).read_bytes())
        listed = dict(fields["files"])
    except FileNotFoundError:
        return f"it holds no {MARKER}, so no export wrote it"
    except (files.Damaged, KeyError, TypeError, ValueError) as error:
        return f"its {MARKER} is damaged ({error})"
    for name in sorted(_names(folder) - {MARKER}):
        path = folder / name
        if name not in listed:
            return f"it holds {name}, which no export wrote"
        if path.is_symlink() or not path.is_file() or files.digest(path.read_bytes()) != listed[name]:
            return f"{name} in it was changed since it was exported"
    return None


def put(made: Path, folder: Path) -> None:
    """Move a finished export to its place, and remove the earlier one that was there.

    Raises:
        UserError: when the earlier one was changed in the last moment: it stays.
        OSError: when the folder cannot be written.
    """
    if not folder.exists():
        made.rename(folder)
        return
    before = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    folder.rename(before)
    try:
        what = foreign(before)
        if what is not None:
            raise _refused(folder, what)
        made.rename(folder)
    except BaseException:
        before.rename(folder)
        raise
    shutil.rmtree(before)


def _refused(folder: Path, what: str) -> UserError:
    return UserError(f"{folder} cannot be replaced by an export: {what}; {OTHER}")


def _names(folder: Path) -> set[str]:
    """Everything in a folder, links unfollowed: files by their path in it, and folders in which no file is."""
    found = set()
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        entries = [*names, *links] or ([] if folders or Path(where) == folder else [""])
        found |= {Path(where, name).relative_to(folder).as_posix() for name in entries}
    return found
