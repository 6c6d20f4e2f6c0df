"""Running a paper study: its searches, its runs, the measurements that are kept, the report in the tracking store."""

from __future__ import annotations

from dataclasses import replace

from longlag.analysis.result import StudyResult
from longlag.errors import UserError
from longlag.papers import cost, measurements, pages, plan, report
from longlag.papers.claims import ScaleName
from longlag.papers.cost import Cost
from longlag.papers.pages import Pages
from longlag.papers.report import Report
from longlag.papers.spec import PaperSpec
from longlag.parts import Parts
from longlag.spec import RunSpec, StudySpec
from longlag.study.callback import StudyCallback
from longlag.study.queue import Workers
from longlag.study.sweep import sweep
from longlag.tracking import study_run
from longlag.tracking.store import Store
from longlag.training.environment import torch_threads
from longlag.workers.runner import FINAL
from longlag.workspace import Workspace


def costs(paper: PaperSpec, scale: ScaleName, workspace: Workspace, workers: Workers) -> list[Cost]:
    """What the study will take: searches first, then the runs that are judged."""
    store = workspace.store()

    def done(spec: RunSpec) -> bool:
        found = store.find(spec.run_key)
        return found is not None and found.result is not None and found.result.outcome in FINAL

    with torch_threads(workers.threads):
        searches = cost.estimate(plan.searched(paper, scale), done)
        runs = cost.estimate(plan.entries(paper, scale, _chosen_before(paper, scale, store)), done)
    return [Cost(f"{item.arm} (search)", item.runs, item.left, item.updates, item.seconds) for item in searches] + runs


def _chosen_before(paper: PaperSpec, scale: ScaleName, store: Store) -> dict[str, dict[str, object]]:
    """What the searches took, where all of their runs have finished before."""
    of = plan.searched(paper, scale)
    results = {}
    for entry in of:
        found = store.find(entry.spec.run_key)
        if found is None or found.result is None:
            return {}
        results[entry.spec.run_key] = found.result
    return plan.choose(of, results)


def run(
    paper: PaperSpec, scale: ScaleName, workspace: Workspace, workers: Workers, callback: StudyCallback
) -> tuple[Report, Pages, str]:
    """Run what has not been run before, judge, write the report, and keep it with the study's own run.

    Args:
        paper: the paper study.
        scale: its scale.
        workspace: where the runs and the report are kept.
        workers: how many, and where.
        callback: receives the events of its sweeps.

    Returns:
        The report, its files, and the study's name in the tracking store.

    Raises:
        UserError: when runs failed: nothing is judged on a part of the seeds.
        KeyboardInterrupt: after Ctrl-C; the same call continues.
    """
    searches = plan.searched(paper, scale)
    chosen: dict[str, dict[str, object]] = {}
    if searches:
        result = _sweep(plan.study(paper, scale, searches, "-search"), workspace, workers, callback)
        found = {item.run_key: item for trial in result.trials for item in trial.runs}
        chosen = plan.choose(searches, found)
    entries = plan.entries(paper, scale, chosen)
    spec = plan.study(paper, scale, entries)
    result = _sweep(spec, workspace, workers, callback)
    store = workspace.store()
    measured = measurements.collect(paper, scale, entries, result, store, chosen, len(searches))
    folder = workspace.home.reports / f"{paper.name}-{scale}"
    pages.keep(measured, paper, folder)
    content = report.build(paper, measured)
    written = pages.write(content, folder)
    tags = {f"verdict.{claim}": decision for claim, decision in content.decisions.items()}
    parts = Parts()
    parts.make(
        "the copy of the report in the tracking store",
        lambda: study_run.attach(store, result.experiment, spec.identity(), folder, tags),
    )
    return content, replace(written, missing=(*result.missing, *written.missing, *parts.failed)), spec.name


def _sweep(spec: StudySpec, workspace: Workspace, workers: Workers, callback: StudyCallback) -> StudyResult:
    result = sweep(spec, workspace, workers, callbacks=[callback])
    if result.failed:
        first = result.failed[0]
        raise UserError(
            f"{len(result.failed)} of {result.total} runs failed, so that nothing is judged; the same command tries "
            f"them again. The first, {first.point.get('arm')}: {first.reason}"
        )
    return result
