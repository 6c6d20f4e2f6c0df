"""Running a paper study: its searches, its runs, the measurements that are kept, the report in the tracking store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from longlag.errors import UserError
from longlag.papers import cost, pages, plan, record, report
from longlag.papers.claims import ScaleName
from longlag.papers.cost import Cost
from longlag.papers.pages import Pages
from longlag.papers.report import Report
from longlag.papers.spec import PaperSpec
from longlag.spec import RunSpec, StudySpec
from longlag.study.result import StudyCallback, StudyResult
from longlag.study.sweep import sweep
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.checkpoint import SECONDS
from longlag.training.environment import torch_threads
from longlag.workers.runner import FINAL


@dataclass(frozen=True)
class How:
    """Where and how the runs are made; nothing of it changes a run's numbers but threads, in their last bits."""

    home: Home
    tracking_uri: str | None = None
    workers: int | Literal["auto"] = 1
    threads: int = 1
    checkpoint_seconds: float | None = SECONDS


def costs(paper: PaperSpec, scale: ScaleName, how: How) -> list[Cost]:
    """What the study will take: searches first, then the runs that are judged."""
    store = Store.open(how.home, how.tracking_uri)

    def done(spec: RunSpec) -> bool:
        found = store.find(spec.run_key)
        return found is not None and found.result is not None and found.result.outcome in FINAL

    with torch_threads(how.threads):
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
    paper: PaperSpec, scale: ScaleName, how: How, callback: Callable[[], StudyCallback]
) -> tuple[Report, Pages, str]:
    """Run what has not been run before, judge, write the report, and keep it with the study's own run.

    Args:
        paper, scale: what.
        how: where.
        callback: makes what is told of the progress of a sweep.

    Returns:
        The report, its files, and the study's name in the tracking store.

    Raises:
        UserError: when runs failed: nothing is judged on a part of the seeds.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    searches = plan.searched(paper, scale)
    chosen: dict[str, dict[str, object]] = {}
    if searches:
        result = _sweep(plan.study(paper, scale, searches, "-search"), how, callback())
        found = {item.run_key: item for trial in result.trials for item in trial.runs}
        chosen = plan.choose(searches, found)
    entries = plan.entries(paper, scale, chosen)
    spec = plan.study(paper, scale, entries)
    result = _sweep(spec, how, callback())
    store = Store.open(how.home, how.tracking_uri)
    kept = record.collect(paper, scale, entries, result, store, chosen, len(searches))
    content = report.build(paper, kept)
    folder = how.home.reports / f"{paper.name}-{scale}"
    written = pages.write(content, folder)
    tags = {f"verdict.{claim}": decision for claim, decision in content.decisions.items()}
    store.attach(result.experiment, spec.identity(), folder, tags)
    return content, written, spec.name


def _sweep(spec: StudySpec, how: How, callback: StudyCallback) -> StudyResult:
    callbacks: Sequence[StudyCallback] = [callback]
    result = sweep(
        spec,
        home=how.home,
        tracking_uri=how.tracking_uri,
        threads=how.threads,
        workers=how.workers,
        checkpoint_seconds=how.checkpoint_seconds,
        callbacks=callbacks,
    )
    if result.failed:
        first = result.failed[0]
        raise UserError(
            f"{len(result.failed)} of {result.total} runs failed, so that nothing is judged; the same command tries "
            f"them again. The first, {first.point.get('arm')}: {first.reason}"
        )
    return result
