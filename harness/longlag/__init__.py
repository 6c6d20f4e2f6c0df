"""longlag: which recurrent cell learns a long time lag, at what cost, and why?

The functions do what the commands of the same names do, and return typed results. Importing longlag imports none of
them: each is imported, with torch and whatever else it needs, when it is first used.

Examples:
    >>> import longlag
    >>> fields = {"task": {"name": "adding", "length": 50}, "cell": "lstm", "clip": {"norm": 1}}
    >>> result = longlag.run(fields, home="/tmp/longlag-home")  # doctest: +SKIP
    >>> result.outcome, result.solved_at, result.gradient["final_horizon"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag import lazy

if TYPE_CHECKING:
    from longlag.analysis.probe import ProbeResult, probe
    from longlag.analysis.result import StudyResult
    from longlag.api import horizon, report, reproduce, run, sweep
    from longlag.cells import layer
    from longlag.errors import UserError
    from longlag.spec import RunSpec, StudySpec
    from longlag.study.callback import StudyCallback
    from longlag.training import RunCallback, RunResult
    from longlag.workers.launchers.dask import Dask

__all__ = [
    "Dask",
    "ProbeResult",
    "RunCallback",
    "RunResult",
    "RunSpec",
    "StudyCallback",
    "StudyResult",
    "StudySpec",
    "UserError",
    "horizon",
    "layer",
    "probe",
    "report",
    "reproduce",
    "run",
    "sweep",
]

_HOMES = {
    "Dask": "longlag.workers.launchers.dask",
    "ProbeResult": "longlag.analysis.probe",
    "RunCallback": "longlag.training",
    "RunResult": "longlag.training",
    "RunSpec": "longlag.spec",
    "StudyCallback": "longlag.study.callback",
    "StudyResult": "longlag.analysis.result",
    "StudySpec": "longlag.spec",
    "UserError": "longlag.errors",
    "horizon": "longlag.api",
    "layer": "longlag.cells",
    "probe": "longlag.analysis.probe",
    "report": "longlag.api",
    "reproduce": "longlag.api",
    "run": "longlag.api",
    "sweep": "longlag.api",
}
"""The module that each name is imported from when it is first used."""

if not TYPE_CHECKING:  # a type checker would take it for a promise that every name exists
    __getattr__ = lazy.names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
