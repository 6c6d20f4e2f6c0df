"""longlag: which recurrent cell learns a long time lag, at what cost, and why?

`run` and `sweep` do what the commands of the same names do and return typed results. Nothing heavy is imported until
one of them is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from longlag.spec import RunSpec, StudySpec
    from longlag.study import Dask, StudyCallback, StudyResult
    from longlag.training import RunCallback, RunResult

__all__ = ["run", "sweep"]


def run(
    spec: RunSpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    force: bool = False,
    threads: int = 1,
    callbacks: Sequence[RunCallback] = (),
) -> RunResult:
    """Train one run, or return the result of the same run if it has finished before; see `longlag.study.run`.

    Examples:
        >>> import longlag
        >>> fields = {"task": {"name": "adding", "length": 50}, "cell": "lstm", "clip": {"norm": 1}}
        >>> result = longlag.run(fields, home="/tmp/longlag-home")  # doctest: +SKIP
        >>> result.outcome, result.solved_at, result.gradient["final_horizon"]  # doctest: +SKIP
    """
    from longlag.study import run as implementation

    return implementation(spec, home=home, tracking_uri=tracking_uri, force=force, threads=threads, callbacks=callbacks)


def sweep(
    spec: StudySpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Dask | None = None,
    callbacks: Sequence[StudyCallback] = (),
) -> StudyResult:
    """Run a study, or what remains of it; see `longlag.study.sweep`.

    Examples:
        >>> import longlag
        >>> study = {
        ...     "name": "lags",
        ...     "base": {"task": "adding"},
        ...     "space": {"cell": ["rnn", "lstm", "gru"]},
        ...     "sampler": {"name": "grid"},
        ... }
        >>> for trial in longlag.sweep(study).trials:  # doctest: +SKIP
        ...     print(trial.point["cell"], trial.objective)
    """
    from longlag.study import sweep as implementation

    return implementation(
        spec,
        home=home,
        tracking_uri=tracking_uri,
        storage=storage,
        threads=threads,
        workers=workers,
        executor=executor,
        callbacks=callbacks,
    )
