"""Options of tasks that can read a file or folder at hand: its contents belong to the identity of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from longlag.task import DataError, Options
from longlag_tasks._textfiles import below, digest, named, place

SHA256 = "of the data at the path; filled in, and checked where it is given"


class LocalOptions(Options):
    """Options with a path: None stands for what longlag brings itself."""

    path: str | None = Field(None, description="a file; none: what longlag brings itself")
    sha256: str | None = Field(None, description=SHA256)

    @classmethod
    def files(cls, path: str) -> list[str]:
        """The files that a path stands for, in order."""
        return [path]

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.path is None else (named(self.path),)

    def changed(self, *names: str) -> bool:
        """Whether any of these options has another value than by default. A spec spells them all out."""
        return any(getattr(self, name) != type(self).model_fields[name].default for name in names)

    @model_validator(mode="before")
    @classmethod
    def _identity(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("path"), str):
            return given
        files = cls.files(given["path"])
        return {**given, "sha256": digest(files)} if files and given.get("sha256") is None else given


def local(options: LocalOptions) -> list[Path]:
    """The files of the path of `LocalOptions`.

    Raises:
        DataError: where they are not those that the run is known by.
    """
    assert options.path is not None
    files = options.files(options.path)
    found = digest(files)
    if found != options.sha256:
        raise DataError(f"{options.path}: has changed (sha256 {found}); leave sha256 out to take it as it is")
    return [place(file) for file in files]


def matching(folder: str, pattern: str) -> list[str]:
    """The files below a folder that match, by name.

    Raises:
        DataError: where there are none.
    """
    files = sorted(str(file) for file in below(folder) if file.match(pattern))
    if not files:
        raise DataError(f"{folder}: holds no file {pattern}")
    return files
