"""What every task's quick start gives, with an LSTM and a GRU: ``python -m benchmarks.quickstarts``.

A task's quick start is the first ``longlag run`` command of its page in ``docs/tasks``. It is run as it stands there,
with seed 0, once with each cell, on one thread. Results are kept in a home: asked again, they are shown, not trained.

    baseline    the trivial predictor's score, in the task's first metric
    test        the run's, on the test split
    score       test on a scale where a perfect model has 0 and the trivial predictor 1
    updates     when it was solved, or the budget
    cpu s       processor time of the whole run, evaluations included
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from longlag import registry, run, specfile
from longlag.cli.run import FROM_OPTIONS, fields_of
from longlag.errors import UserError
from longlag.spec import RunSpec, load_run

PAGES = Path(__file__).resolve().parents[1] / "docs" / "tasks"
CELLS = ("lstm", "gru")


def command(task: str) -> list[str]:
    """The words behind ``longlag run`` of the first command on a task's page."""
    page = (PAGES / f"{task}.md").read_text(encoding="utf-8").replace("\\\n", " ")
    line = next(line for line in page.splitlines() if line.startswith(f"longlag run {task} "))
    return shlex.split(line)[2:]


def fields(task: str) -> dict[str, Any]:
    """The run's fields that a task's quick start gives."""
    given: dict[str, Any] = dict.fromkeys(FROM_OPTIONS)
    settings = []
    words = command(task)[1:]
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option == "--set":
            settings.append(value)
        else:
            name = option.removeprefix("--").replace("-", "_")
            given[name] = value if name == "cell" else specfile.parse(value, option)  # `fields_of` reads a cell itself
    return fields_of(task, None, given, settings)


def quick_start(task: str, cell: str) -> RunSpec:
    """A task's quick start with the given cell.

    Raises:
        UserError: where data or a package are missing.
    """
    return load_run({**fields(task), "cell": cell})


def tasks(names: str | None) -> list[str]:
    """The tasks to measure: those named, separated by commas, or all that longlag brings."""
    return names.split(",") if names else [n for n in registry.names("task") if (PAGES / f"{n}.md").is_file()]


def row(task: str, cell: str, home: Path) -> str:
    """Train one quick start, or look it up."""
    start = f"{task:<22}{cell:<6}"
    try:
        result = run(quick_start(task, cell), home=home)
    except UserError as error:
        return f"{start}{error}"
    metric = result.spec.task.build().metrics[0].name
    if result.test is None:
        return f"{start}{result.outcome}: {result.reason}"
    updates = f"{result.updates}, {'solved' if result.solved_at else 'not solved'}"
    numbers = f"{result.baseline:>10.4g}{result.test[metric]:>10.4g}{result.score:>8.3f}"
    return f"{start}{metric:<20}{numbers}  {updates:<20}{result.cpu_seconds:>6.0f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("benchmarks.quickstarts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", help="separated by commas; all by default")
    parser.add_argument("--home", type=Path, default=Path("longlag-home"), help="where the runs are kept")
    options = parser.parse_args(arguments)
    heads = f"{'baseline':>10}{'test':>10}{'score':>8}  {'updates':<20}{'cpu s':>6}"
    print(f"{'task':<22}{'cell':<6}{'metric':<20}{heads}")
    for task in tasks(options.tasks):
        for cell in CELLS:
            print(row(task, cell, options.home), flush=True)


if __name__ == "__main__":
    main()
