"""What `make fault-test` prints at its end: one line for each fault of docs/faults.md."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from longlag.errors import UserError
from longlag.log import log
from tests.promises import promises

SAID = "longlag said"
FOLDER = re.compile(r"/\S*/pytest-of-[^/\s]+/[^/\s]+/[^/\s]+/")
"""A test's own folder."""


class _Warnings(logging.Handler):
    def __init__(self, sentences: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.sentences = sentences

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


@contextmanager
def collecting(test: pytest.Item) -> Iterator[None]:
    """Note on a test the last sentence that longlag says in this process: a refusal, or a warning."""
    sentences: list[str] = []
    begin = UserError.__init__

    def noted(self: UserError, *arguments: Any) -> None:
        begin(self, *arguments)
        sentences.append(str(self))

    handler = _Warnings(sentences)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(UserError, "__init__", noted)
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
    if sentences:
        test.user_properties.append((SAID, FOLDER.sub("", " ".join(sentences[-1].split()))))


def lines(reports: Iterable[pytest.TestReport]) -> list[str]:
    """One line for each fault: how many of its tests passed, what longlag said, what it promises."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, str] = {}
    for report in reports:
        test = report.nodeid.split("[")[0]
        if report.when == "call" or report.outcome != "passed":
            outcomes[test][report.outcome] += 1
        said.update((test, str(sentence)) for name, sentence in report.user_properties if name == SAID)
    found = []
    for promise in promises():
        counts = sum((outcomes.pop(test, Counter()) for test in promise.tests), Counter[str]())
        sentence = next((f'"{said[test]}"; ' for test in promise.tests if test in said), "")
        if counts:
            found.append(f"{promise.fault} ({_counted(counts)}): {sentence}{promise.kept}")
    return [*found, *(f"{test} ({_counted(counts)})" for test, counts in outcomes.items())]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
