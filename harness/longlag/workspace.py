"""The workspace: where runs, studies and cached data are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longlag.tracking.home import Home
from longlag.tracking.store import Store


@dataclass(frozen=True)
class Workspace:
    """Where results are kept. `open` makes one.

    Args:
        home: folder of the results.
        tracking_uri: an MLflow server or store; None for the home's own.
        storage: where several machines keep their studies, such as ``postgresql://user@host/database``; None for the
            home's own.
    """

    home: Home
    tracking_uri: str | None = None
    storage: str | None = None

    @classmethod
    def open(
        cls,
        home: Home | Path | str | None = None,
        tracking_uri: str | None = None,
        storage: str | None = None,
        create: bool = True,
    ) -> Workspace:
        """Open the workspace.

        Args:
            home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
            tracking_uri: as above.
            storage: as above.
            create: make the home where there is none; otherwise it has to exist.

        Raises:
            UserError: for a home that cannot be used.
        """
        return cls(home if isinstance(home, Home) else Home.open(home, create), tracking_uri, storage)

    def store(self) -> Store:
        """The tracking store.

        Raises:
            UserError: when a server does not answer.
        """
        return Store.open(self.home, self.tracking_uri)
