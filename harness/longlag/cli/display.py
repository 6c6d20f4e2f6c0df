"""What `run`, `sweep` and `report` print at their end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from longlag import escape
from longlag.cli.terminal import command, console, duration, number, share, styled, value
from longlag.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from longlag.analysis.correlation import RankCorrelation
    from longlag.analysis.importance import Importance
    from longlag.analysis.result import StudyResult, TrialResult
    from longlag.parts import Parts
    from longlag.tracking.home import Home
    from longlag.training import RunResult
    from longlag.workers.requests import Execution

ROWS = 100
"""Finished trials in the table of a study, and as many that are not; a terminal needs seconds for thousands."""
USUAL = {"cell": "cell", "model.depth": "depth", "optimizer": "optimizer"}


def run_lines(done: Execution, home: Home, uri: str) -> list[str]:
    """What is said when a run has ended."""
    result = done.result
    lines = [f"{result.outcome}: {escape.line(result.reason)}{'' if done.trained else ' (found, not trained again)'}"]
    if result.test is not None:
        baseline = result.spec.task.build().baseline()
        name = next(iter(result.test))
        lines.append(
            f"  test {name} {number(result.test[name])}, {share(result.score)} of the trivial predictor's "
            f"{number(baseline.value)} ({baseline.predictor})"
        )
        others = ", ".join(f"{key} {number(v)}" for key, v in list(result.test.items())[1:])
        if others:
            lines.append(f"  also on the test split: {others}")
    kind = "lag_horizon" if "initial_lag_horizon" in result.gradient else "horizon"
    if {f"initial_{kind}", f"final_{kind}"} <= result.gradient.keys():
        lines.append(
            f"  gradient horizon {result.gradient[f'final_{kind}']:.0f} steps at the end, "
            f"{result.gradient[f'initial_{kind}']:.0f} before the first update"
        )
    lines.append(f"  {result.updates} updates in {duration(result.wall_seconds)}, {result.parameters:,} parameters")
    if done.run_id is None:
        lines.append(f"  recorded in {uri}, or kept in {home.spool} until it takes the run")
    else:
        lines.append(f"  recorded in {home.root if uri == home.tracking_uri else uri} as run {done.run_id}")
    lines.append(f"Look at its curves: {command()} ui{_options(home, uri)}")
    return lines


def _options(home: Home, uri: str) -> str:
    """What the next command needs to find the same place."""
    from longlag.cli.homes import folder

    place = "" if home.root.resolve() == folder(None).resolve() else f" --home {home.root}"
    return place if uri == home.tracking_uri else f"{place} --tracking-uri {uri}"


# -- a study ----------------------------------------------------------------------------------------------------------


def print_study(
    result: StudyResult,
    home: Home,
    parts: Parts,
    correlations: Sequence[RankCorrelation] = (),
    pictures: Sequence[Path] = (),
    importance: Sequence[Importance] = (),
    every: bool = False,
) -> None:
    """The closing table, what to make of it, and what to type next; `every` trial, or the best `ROWS`.

    `parts` has what could not be made of it so far; it is said at the end.
    """
    out = console()
    shown = result.trials if every else first_trials(result)
    parts.make("the table of trials", lambda: out.print(study_table(result, shown)))
    if len(shown) < len(result.trials):
        out.print(f"{len(result.trials) - len(shown):,} more trials are not in the table (longlag report --all)")
    for trial in [trial for trial in shown if trial.state == "failed"]:
        out.print(f"trial {trial.number} failed: {escape.line(trial.reason)}")
    if importance:
        parts.make("the table of importances", lambda: print_importance(out, importance, result))
    if correlations:
        parts.make("the table of rank correlations", lambda: print_correlations(out, correlations))
    for path in pictures:
        out.print(f"picture: {path}", soft_wrap=True)
    for sentence in (*result.missing, *parts.failed):
        out.print(escape.line(sentence), soft_wrap=True)
    if not result.finished or result.failed:
        out.print(
            f"done so far: {done_so_far(result)}; "
            f"continue with: longlag sweep {result.spec.name}{_options(home, result.tracking_uri)}",
            soft_wrap=True,
        )
    out.print(
        "Look at the curves:",
        styled(f"{command()} ui {result.spec.name}{_options(home, result.tracking_uri)}", "bold"),
        soft_wrap=True,
    )


def first_trials(result: StudyResult) -> list[TrialResult]:
    """The best finished trials, and some of those that are running, lost, waiting or failed."""
    done = [trial for trial in result.trials if trial.state in ("complete", "pruned")]
    return [*done[:ROWS], *[trial for trial in result.trials if trial.state not in ("complete", "pruned")][:ROWS]]


def study_table(result: StudyResult, trials: Sequence[TrialResult]) -> Table:
    """Trials from the best to the worst."""
    metrics = {run.spec.task.name: next(iter(run.validation), "") for t in result.trials for run in t.runs}
    metric = f"test {next(iter(metrics.values()))}" if len(metrics) == 1 else "test"
    columns = columns_of(result)
    caption = None
    if len(result.spec.objectives) > 1:
        caption = f"● the Pareto front: no other trial is better in all of {', '.join(result.spec.objectives)}"
    title = f"{result.spec.name}: {done_so_far(result)}"
    table = Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    if caption:
        table.add_column("")
    for name in columns.values():
        table.add_column(name, justify="right" if name == "depth" else "left", overflow="fold")
    for name in (metric, "of trivial", "updates to solved", "gradient horizon", "outcome"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    extra = [name for name in result.spec.objectives if name != "score"]
    for name in extra:
        table.add_column(name, justify="right")
    for trial in trials:
        row = trial_row(trial, list(columns), result)
        row += [number(trial.objectives[name]) if name in trial.objectives else "–" for name in extra]
        if caption:
            row = ["●" if trial.number in result.front else "", *row]
        table.add_row(*row, style="bold" if trial.runs and all(r.solved for r in trial.runs) else None)
    return table


def done_so_far(result: StudyResult) -> str:
    """How much of what ends a study is done."""
    spec = result.spec
    parts = [f"{result.done} trials" if result.total is None else f"{result.done} of {result.total} trials"]
    if spec.total_updates is not None:
        parts.append(f"{result.updates:,} of {spec.total_updates:,} updates")
    if spec.hours is not None:
        parts.append(f"{duration(3600 * result.hours)} of {duration(3600 * spec.hours)}")
    return ", ".join(parts)


def columns_of(result: StudyResult) -> dict[str, str]:
    """Dotted paths that get a column: cell, depth and optimizer, and every other axis with more than one value."""
    axes = [path for path, axis in result.spec.space.items() if not (isinstance(axis, list) and len(axis) == 1)]
    return {**USUAL, **{path: path for path in axes if path not in USUAL}}


def trial_row(trial: TrialResult, paths: Sequence[str], result: StudyResult) -> list[str]:
    runs = trial.runs
    cells = [_field(trial, path, result) for path in paths]
    tested = [run for run in runs if run.test is not None]
    test = statistics.fmean(next(iter(run.test.values())) for run in tested if run.test) if tested else math.nan
    scores = [run.score if run.test is not None else math.inf for run in runs]
    score = statistics.fmean(scores) if scores else math.nan
    diverged = any(run.outcome == "diverged" for run in runs)
    return [
        *cells,
        number(math.inf if diverged else test),
        share(score) if trial.state == "complete" else "–",
        solved_at(runs),
        horizon(runs),
        outcome(trial),
    ]


def _field(trial: TrialResult, path: str, result: StudyResult) -> str:
    if path in trial.point:
        return value(trial.point[path])
    try:
        spec = trial.runs[0].spec if trial.runs else result.spec.run(trial.point, result.spec.seeds[0])
    except UserError:
        return "–"  # a failed trial whose point gives no run
    here: Any = spec.model_dump(mode="json")
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return "–"  # an axis that only other choices have
        here = here[key]
    return escape.line(here["name"] if isinstance(here, Mapping) else here)


def solved_at(runs: Sequence[RunResult]) -> str:
    """The update at which it was solved; with several seeds the median of those that did, and how many did."""
    updates = [round(run.updates_to_solved) for run in runs if run.solved]
    if not runs:
        return "–"
    if not updates:
        return "never"
    middle = f"{statistics.median_high(updates)}"
    return middle if len(runs) == 1 else f"{middle} ({len(updates)} of {len(runs)} seeds)"


def horizon(runs: Sequence[RunResult]) -> str:
    """Of the loss at one step where there is one at every step, else of the whole loss."""
    found = [run.gradient.get("final_lag_horizon", run.gradient.get("final_horizon")) for run in runs]
    values = [value for value in found if value is not None]
    return number(statistics.fmean(values)) if values else "–"


def outcome(trial: TrialResult) -> str:
    if trial.state == "lost":
        return f"lost: {trial.reason}; the next sweep takes it up"
    if trial.state != "complete":
        return trial.state
    outcomes = [run.outcome for run in trial.runs]
    if len(set(outcomes)) == 1:
        return outcomes[0]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))


def print_correlations(out: Console, correlations: Sequence[RankCorrelation]) -> None:
    """How well gradient flow says who learns."""
    said = [correlation for correlation in correlations if correlation.rho is not None]
    if not said:
        return  # too few runs, or runs that do not differ
    table = Table(title="gradient flow and learning: Spearman's rank correlation over runs, 95 % interval",
                  title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for name in ("", "with solved", "with score", "runs"):
        table.add_column(name, justify="left" if not name else "right")
    for name in dict.fromkeys(correlation.predictor for correlation in correlations):
        row = {r.outcome: r for r in correlations if r.predictor == name}
        table.add_row(name, *(_rho(row[key]) for key in ("solved", "score")), str(row["score"].runs))
    out.print(table)


def print_importance(out: Console, found: Sequence[Importance], result: StudyResult) -> None:
    """Which axes matter, by both methods; one sentence where nothing can be said."""
    said = [each for each in found if each.share is not None]
    reasons = dict.fromkeys(each.reason for each in found if each.share is None)
    if not said:
        out.print(f"importance of the axes: not told ({'; '.join(reasons)})", soft_wrap=True)
        return
    for objective in dict.fromkeys(each.objective for each in said):
        table = Table(
            title=f"which axes matter for {objective}: share of its rank's variance explained alone (fANOVA), "
            "share in reaching the best tenth (PED-ANOVA); 95 % intervals by a bootstrap over trials",
            title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
        )  # fmt: skip
        for name in ("axis", "fANOVA", "PED-ANOVA", "trials"):
            table.add_column(name, justify="left" if name == "axis" else "right", overflow="fold")
        here = {(each.axis, each.method): each for each in found if each.objective == objective}
        for axis in dict.fromkeys(path for path, _ in here):
            each = here[axis, "fanova"]
            name = f"{axis} (where {each.where})" if each.where else axis
            table.add_row(name, _share(each), _share(here[axis, "ped-anova"]), str(each.trials))
        out.print(table)
    if result.adaptive:
        out.print(
            f"({result.spec.sampler.name} looks where it is good: fANOVA is surest on random, qmc or grid trials)",
            soft_wrap=True,
        )  # fmt: skip


def _share(each: Importance) -> str:
    if each.share is None or each.low is None or each.high is None:
        return each.reason
    return f"{each.share:.2f} ({each.low:.2f} … {each.high:.2f})"


def _rho(correlation: RankCorrelation) -> str:
    if correlation.rho is None or correlation.low is None or correlation.high is None:
        return "does not vary"
    return f"{correlation.rho:+.2f} ({correlation.low:+.2f} … {correlation.high:+.2f})"


# -- lists ------------------------------------------------------------------------------------------------------------
