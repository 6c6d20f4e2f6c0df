"""docs/faults.md: every fault names tests, which exist and which `make fault-test` runs."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.promises import ROOT, Promise, promises


@cache
def marks(file: str) -> dict[str, set[str]]:
    """The marks of each test of a file, those of the whole file included."""
    found: dict[str, set[str]] = {}
    whole: set[str] = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = {mark for each in node.decorator_list for mark in _marks(each)}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            whole = set(_marks(node.value))
    return {name: own | whole for name, own in found.items()}


def _marks(node: ast.expr) -> list[str]:
    return [each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.fault)
def test_every_promise_names_tests_that_make_fault_test_runs(promise: Promise) -> None:
    assert promise.kept and promise.tests, "without a test it is no promise"
    for test in promise.tests:
        file, name = test.split("::")
        assert name in marks(file), f"there is no {test}"
        assert "fault" in marks(file)[name], f"{test} is not marked as a fault"
