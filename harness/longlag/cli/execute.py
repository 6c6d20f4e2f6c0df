"""What `run` and `sweep` do once they know what is asked. Imports everything heavy; the commands import it late."""

from __future__ import annotations

import typer

from longlag.cli import display, terminal
from longlag.cli.errors import stoppable
from longlag.cli.progress import RunProgress, SweepProgress
from longlag.cli.summary import print_study, run_fields
from longlag.parts import Parts
from longlag.spec import RunSpec, StudySpec
from longlag.study.queue import Workers
from longlag.study.run import run
from longlag.study.sweep import sweep
from longlag.workers.faults import translate_errors
from longlag.workers.stopping import graceful
from longlag.workspace import Workspace

RUN_STOPPED = "the same command continues from the last checkpoint"
SWEEP_STOPPED = "what is finished is kept, running trials are queued again, and the same command continues the study"


def one_run(
    spec: RunSpec, workspace: Workspace, *, threads: int, checkpoint_seconds: float, force: bool, json: bool
) -> None:
    with stoppable(RUN_STOPPED), graceful() as stop, RunProgress(spec) as progress:
        done = run(
            spec,
            workspace,
            force=force,
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
            callbacks=[progress],
            stop=stop,
        )
    uri = workspace.store().uri
    if json:
        where = {"run_id": done.run_id, "experiment": done.experiment, "tracking_uri": uri}
        fields = {**run_fields(done.result), **where, "trained": done.trained}
        terminal.print_json(fields)
        return
    terminal.say("\n".join(display.run_lines(done, workspace.home, uri)))


def study(
    spec: StudySpec, workspace: Workspace, workers: Workers, heartbeat_seconds: int | None = None, *, json: bool
) -> None:
    with stoppable(SWEEP_STOPPED), SweepProgress() as progress:
        result = sweep(spec, workspace, workers, heartbeat_seconds=heartbeat_seconds, callbacks=[progress])
    with translate_errors(workspace.home.root):
        print_study(result, workspace.home, Parts(), json)
    if result.failed:
        raise typer.Exit(1)
