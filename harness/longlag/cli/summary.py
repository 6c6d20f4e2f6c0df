"""What `sweep` ends with and `report` shows: the study as it is now, as tables or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longlag.analysis import relation
from longlag.analysis.importance import Importance, as_json, importances
from longlag.analysis.kept import Kept
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
    relations = parts.make("the rank correlations", lambda: relation.relate(result)) or []
    found: list[Importance] = []
    if importance is not False:
        kept, quick = Kept(home.reports / result.spec.name), importance is None
        found = parts.make("the importances of the axes", lambda: importances(result, kept, quick)) or []
    if json:
        fields = {**result.model_dump(mode="json"), "remaining": result.remaining}
        fields["trials"] = [
            {**trial.model_dump(mode="json"), "runs": [run_fields(each) for each in trial.runs]}
            for trial in result.trials
        ]
        fields |= {"relations": relation.as_json(relations), "pictures": [str(path) for path in drawn]}
        fields["missing"] = [*result.missing, *parts.failed]
        if importance is not False:
            fields["importance"] = as_json(found)
        terminal.print_json(fields)
        return
    display.print_study(result, home, parts, relations, drawn, found, every)
