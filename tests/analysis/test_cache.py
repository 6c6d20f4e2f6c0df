"""Pictures and importances are made once, and again when what they show has changed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longlag.analysis import importance
from longlag.analysis.cache import NAME, ReportCache, digest
from longlag.analysis.importance import importances
from longlag.analysis.pictures import _draw
from tests.analysis.test_importance import AXES, study


def test_a_picture_is_drawn_again_when_it_shows_something_else_or_is_gone(tmp_path: Path) -> None:
    drawn: list[str] = []
    paths = [tmp_path / "curves.png", tmp_path / "curves.pdf"]

    def touch() -> None:
        for path in paths:
            drawn.append(path.name)
            path.touch()

    def draw(*shown: Any) -> int:
        before = len(drawn)
        _draw(paths, digest(*shown), ReportCache(tmp_path), touch)
        return len(drawn) - before

    assert draw(np.zeros(3), {"a": [1, float("inf")]}) == 2
    assert draw(np.zeros(3), {"a": [1, float("inf")]}) == 0
    assert draw(np.zeros(4), {"a": [1, float("inf")]}) == 2
    paths[1].unlink()
    assert draw(np.zeros(4), {"a": [1, float("inf")]}) == 2


def test_what_is_kept_is_verified_when_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ReportCache(tmp_path).put("importance", "of these", [0.25])
    assert ReportCache(tmp_path).get("importance", "of these") == [0.25]
    assert ReportCache(tmp_path).get("importance", "of others") is None
    path = tmp_path / NAME
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with caplog.at_level(logging.WARNING):
        assert ReportCache(tmp_path).get("importance", "of these") is None
    assert caplog.messages == [f"what was kept in {path} is made again: its checksum differs"]


def test_importances_of_the_same_trials_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "RESAMPLES", {"fanova": 2, "ped-anova": 2})
    result = study(AXES, lambda point: point["clip.norm"], 40)
    found = importances(result, ReportCache(tmp_path))
    monkeypatch.setattr(importance, "_of", None)
    assert importances(result, ReportCache(tmp_path)) == found
    json.loads((tmp_path / NAME).read_text())
    with pytest.raises(TypeError):
        importances(result.model_copy(update={"trials": result.trials[1:]}), ReportCache(tmp_path))


def test_what_takes_seconds_is_computed_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "QUICK", 30)
    found = importances(study(AXES, lambda point: point["clip.norm"], 40), quick=True)
    assert {each.reason for each in found} == {"40 trials take seconds: longlag report --importance"}
    assert {each.share for each in found} == {None}
