"""A single run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from longlag.spec import RunSpec
from longlag.study.generators import GeneratorSearch, each
from longlag.training import RunCallback
from longlag.training.checkpoint import SECONDS
from longlag.workers.faults import translate_errors
from longlag.workers.launchers.in_process import InProcess
from longlag.workers.requests import Execution, RunRequest, WorkerConfig
from longlag.workers.runner import check
from longlag.workers.supervisor import Supervisor
from longlag.workspace import Workspace

RUNS = "runs"
NOTE = "Single runs, made by `longlag run`. Every study has an experiment of its own."


def run(
    spec: RunSpec,
    workspace: Workspace,
    *,
    force: bool = False,
    threads: int = 1,
    checkpoint_seconds: float | None = SECONDS,
    callbacks: Sequence[RunCallback] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Execution:
    """Train one run in this process, or find the same run if it has finished before.

    Args:
        spec: the run.
        workspace: where it is recorded.
        force: train even if the same run has finished before.
        threads: threads of torch; a run's numbers may depend on it in their last bits.
        checkpoint_seconds: seconds between two checkpoints; None writes none.
        callbacks: receive the run's events.
        stop: asked often; true saves the run and ends it.

    Raises:
        UserError: for a device that is not there, or a home or server that fails.
        Interrupted: when `stop` was true.
    """
    check(spec)
    search = GeneratorSearch([each([RunRequest(spec=spec, force=force)])])
    with translate_errors(workspace.home.root):
        store = workspace.store()
        config = WorkerConfig(
            home=workspace.home.root,
            tracking_uri=workspace.tracking_uri,
            experiment=store.experiment(RUNS, NOTE),
            parent=None,
            name=RUNS,
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
        )
        Supervisor(search, InProcess(), config, store, lambda slot: callbacks, stop).run()
        store.deliver(wait=True)
    return search.values[0][0]
