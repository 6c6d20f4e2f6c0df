"""What `import longlag` gives: every name, lazily, with its type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import assert_type

import longlag
from longlag.analysis.probe import ProbeResult
from longlag.analysis.result import StudyResult
from longlag.cells.stack import Stack
from longlag.horizons.measurements import HorizonMeasurements
from longlag.papers.report import Report
from longlag.spec import RunSpec
from longlag.training import RunResult

HEAVY = ("torch", "numpy", "scipy", "pydantic", "mlflow", "optuna", "datasets", "matplotlib", "yaml", "rich", "typer")


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, longlag; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_is_there() -> None:
    assert set(longlag.__all__) == set(longlag._HOMES) and set(longlag.__all__) <= set(dir(longlag))
    for name in longlag.__all__:
        found = getattr(longlag, name)
        assert found.__name__ == name and found.__doc__, name


def types() -> None:
    """What a type checker deduces; `make check` holds it, and nothing runs it."""
    assert_type(longlag.run({}), RunResult)
    assert_type(longlag.sweep({}), StudyResult)
    assert_type(longlag.report("quickstart"), StudyResult)
    assert_type(longlag.probe({}), ProbeResult)
    assert_type(longlag.horizon({}), HorizonMeasurements)
    assert_type(longlag.reproduce("arjovsky-2016"), Report)
    assert_type(longlag.layer("lstm", input_size=2, hidden_size=4), Stack)
    assert_type(longlag.RunSpec.model_validate({}), RunSpec)
    _ = longlag.typo  # type: ignore[attr-defined]  # mypy also refuses a comment that ignores nothing


def test_a_type_checker_finds_the_types() -> None:
    assert (Path(longlag.__file__).parent / "py.typed").exists()
