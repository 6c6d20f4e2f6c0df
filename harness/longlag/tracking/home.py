"""The home: one folder that holds everything longlag writes. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from longlag import locks
from longlag.errors import UserError

LAYOUT = 1
VARIABLE = "LONGLAG_HOME"
DEFAULT = "longlag-home"
CHOOSE = f"choose another home with --home or {VARIABLE}"


@dataclass(frozen=True)
class Home:
    """Where runs, studies and cached data live.

    Args:
        root: the folder, absolute.
    """

    root: Path

    @classmethod
    def open(cls, path: str | Path | None = None, create: bool = True) -> Home:
        """The home at `path`; ``$LONGLAG_HOME``, or ``longlag-home`` in the working directory, when not given.

        Args:
            path: the folder.
            create: make it when it is not there, and be sure that it can be written; otherwise it has to exist.

        Raises:
            UserError: when it is no folder, cannot be written, is damaged, was made by a newer longlag, or is missing.
        """
        given = Path(path or os.environ.get(VARIABLE) or DEFAULT).expanduser()
        home = cls(Path(os.path.abspath(given)))  # noqa: PTH100 (a link stays as the user named it)
        if "?" in str(home.root):
            raise UserError(f"home {home.root}: a database address cannot hold a '?'; {CHOOSE}")
        try:
            if home.root.exists() and not home.root.is_dir():
                raise UserError(f"home {home.root} is a file, not a folder; {CHOOSE}")
            exists = home.exists
        except OSError as error:
            raise UserError(f"home {home.root} cannot be read: {error.strerror}; {CHOOSE}") from error
        if exists:
            home._check()
        elif not create:
            raise UserError(f"there is no longlag home at {home.root}; run a sweep first or give --home")
        if create:
            home._write(not exists)
        return home

    @property
    def exists(self) -> bool:
        """Whether a home is there: a folder with its marker."""
        return self._marker.exists()

    # -- what it holds ----------------------------------------------------------------------------------------------

    @property
    def tracking_uri(self) -> str:
        """MLflow's database."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Files of MLflow's runs."""
        return self.root / "artifacts"

    @property
    def optuna_url(self) -> str:
        """Optuna's database; never MLflow's, as both keep a table ``alembic_version``."""
        return f"sqlite:///{self.root / 'optuna.db'}"

    @property
    def datasets(self) -> Path:
        """Arrow files of the evaluation splits."""
        return self.root / "datasets"

    @property
    def checkpoints(self) -> Path:
        """What interrupted runs go on from; a folder for each, by run_key."""
        return self.root / "checkpoints"

    @property
    def spool(self) -> Path:
        """What a tracking server that went away is still to be told."""
        return self.root / "spool"

    @property
    def reports(self) -> Path:
        """Pictures of studies; a folder for each, by name."""
        return self.root / "reports"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one process on this machine at a time; given back when the process dies."""
        with (self.root / ".lock").open("a") as file:
            locks.acquire(file)
            try:
                yield
            finally:
                locks.release(file)

    # -- opening ----------------------------------------------------------------------------------------------------

    @property
    def _marker(self) -> Path:
        return self.root / "home.json"

    def _check(self) -> None:
        try:
            fields = json.loads(self._marker.read_text(encoding="utf-8"))
            layout, maker = fields["layout"], fields.get("longlag", "of an unknown version")
            if type(layout) is not int or layout < 1:
                raise ValueError(f"layout {layout!r}")
        except OSError as error:
            raise UserError(f"home {self.root} cannot be read: {error.strerror}; {CHOOSE}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{self._marker} is damaged: write {{"layout": {LAYOUT}}} into it if nothing else is; or {CHOOSE}'
            ) from error
        if layout > LAYOUT:
            raise UserError(
                f"home {self.root} was made by longlag {maker} with layout {layout}; this longlag knows layout "
                f"{LAYOUT}: upgrade longlag or {CHOOSE}"
            )

    def _write(self, mark: bool) -> None:
        """Make the folder and its marker; where there is one, try whether a file can be written at all."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = self.root / f".new-{uuid.uuid4().hex}"
            try:
                with draft.open("w", encoding="utf-8") as file:
                    file.write(json.dumps({"layout": LAYOUT, "longlag": version("longlag")}) + "\n")
                    locks.check(file)
                if mark:
                    draft.replace(self._marker)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"home {self.root} cannot be written: {error.strerror}; {CHOOSE}") from error
