"""longlag: which recurrent cell learns a long time lag, at what cost, and why?

`run` and `sweep` do what the commands of the same names do and return typed results. Nothing heavy is imported until
one of them is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.search import Dask, StudyResult, Watcher
    from harness.spec import RunSpec, StudySpec
    from harness.training import Listener, RunResult

__all__ = ["run", "sweep"]


def run(
    spec: RunSpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    force: bool = False,
    threads: int = 1,
    listeners: Sequence[Listener] = (),
) -> RunResult:
    """Train one run, or return the result of the same run if it has finished before; see `harness.search.run`.

    Examples:
        >>> import harness
        >>> fields = {"task": {"name": "adding", "length": 50}, "cell": "lstm", "clip": {"norm": 1}}
        >>> result = harness.run(fields, home="/tmp/longlag-home")  # doctest: +SKIP
        >>> result.outcome, result.solved_at, result.gradient["final_horizon"]  # doctest: +SKIP
    """
    from harness.search import run as implementation

    return implementation(spec, home=home, tracking_uri=tracking_uri, force=force, threads=threads, listeners=listeners)


def sweep(
    spec: StudySpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Dask | None = None,
    watchers: Sequence[Watcher] = (),
) -> StudyResult:
    """Run a study, or what remains of it; see `harness.search.sweep`.

    Examples:
        >>> import harness
        >>> study = {
        ...     "name": "lags",
        ...     "base": {"task": "adding"},
        ...     "space": {"cell": ["rnn", "lstm", "gru"]},
        ...     "sampler": {"name": "grid"},
        ... }
        >>> for trial in harness.sweep(study).trials:  # doctest: +SKIP
        ...     print(trial.point["cell"], trial.objective)
    """
    from harness.search import sweep as implementation

    return implementation(
        spec,
        home=home,
        tracking_uri=tracking_uri,
        storage=storage,
        threads=threads,
        workers=workers,
        executor=executor,
        watchers=watchers,
    )
