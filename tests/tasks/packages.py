"""Tests that need an optional package, skipped in one way where it is not installed."""

from __future__ import annotations

import pytest

from longlag.task import Package, Task


def lacking(task: Task) -> str:
    """What installs the packages that a task needs and that are missing; empty where all are there."""
    return " and ".join(package.command for package in task.needs if not package.installed)


def needing(package: Package) -> pytest.MarkDecorator:
    """Skip a test where the package is missing."""
    return pytest.mark.skipif(not package.installed, reason=f"needs {package.module}: {package.command}")
