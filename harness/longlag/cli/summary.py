"""What `sweep` ends with and `report` shows: the study as it is now, as tables or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longlag.analysis import correlation
from longlag.analysis.cache import ReportCache
from longlag.analysis.importance import Importance, as_json, importances
from longlag.analysis.result import StudyResult
from longlag.cli import display, terminal
from longlag.parts import Parts
from longlag.tracking.home import Home
from longlag.training import RunResult


def run_fields(result: RunResult) -> dict[str, Any]:
    """The fields of a run's result, with whether it solved its task."""
    return {**result.model_dump(mode="json"), "solved": result.solved}


def print_study(
    result: StudyResult,
    home: Home,
    parts: Parts,
    json: bool,
    pictures: Path | None = None,
    importance: bool | None = False,
    every: bool = False,
) -> None:
    """The study as it stands, which axes matter, how well gradient flow says who learns, the pictures of a folder.

    Args:
        result: the study.
        home: where its pictures are.
        parts: what could not be made of it so far.
        json: as JSON.
        pictures: their folder in place of the home's.
        importance: whether to say which axes matter; None: unless that takes seconds.
        every: whether the table has all trials, or the best ones.
    """
    folder = pictures or home.reports / result.spec.name
    drawn = sorted(folder.glob("*.p??")) if folder.is_dir() else []
    correlations = parts.make("the rank correlations", lambda: correlation.correlations(result)) or []
    found: list[Importance] = []
    if importance is not False:
        cache, quick = ReportCache(home.reports / result.spec.name), importance is None
        found = parts.make("the importances of the axes", lambda: importances(result, cache, quick)) or []
    if json:
        fields = {**result.model_dump(mode="json"), "remaining": result.remaining}
        fields["trials"] = [
            {**trial.model_dump(mode="json"), "runs": [run_fields(each) for each in trial.runs]}
            for trial in result.trials
        ]
        fields |= {"relations": correlation.as_json(correlations), "pictures": [str(path) for path in drawn]}
        fields["missing"] = [*result.missing, *parts.failed]
        if importance is not False:
            fields["importance"] = as_json(found)
        terminal.print_json(fields)
        return
    display.print_study(result, home, parts, correlations, drawn, found, every)
