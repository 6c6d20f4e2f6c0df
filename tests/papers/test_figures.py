"""What the pictures show, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from longlag.papers import figures
from longlag.papers.measurements import PaperRun, thin, thin_lags
from tests.papers.example import measured, paper


def run(curve: list[tuple[int, float]], outcome: str = "budget") -> PaperRun:
    return measured(1).runs[0].model_copy(update={"curve": curve, "outcome": outcome})


def test_a_run_that_stopped_keeps_its_last_score_in_the_band() -> None:
    updates, low, middle, high = figures.band([run([(10, 1.0), (20, 0.1)]), run([(10, 1.0), (20, 0.8), (30, 0.6)])])
    assert updates.tolist() == [10, 20, 30]
    assert low == pytest.approx([1.0, 0.1, 0.1]) and high == pytest.approx([1.0, 0.8, 0.6])
    assert middle == pytest.approx([1.0, 0.45, 0.35])


def test_a_run_that_diverged_leaves_the_band_at_its_upper_end() -> None:
    _, low, _, high = figures.band([run([(10, 1.0)], "diverged"), run([(10, 0.9), (20, 0.5)])])
    assert high.tolist() == [1.0, figures.CEILING] and low.tolist() == [0.9, 0.5]


def test_panels_are_tasks() -> None:
    assert figures.panels(paper(), measured()) == {"adding: length 6": ["rnn", "lstm"], "adding: length 8": ["rnn-8"]}


def test_curves_are_thinned_between_their_ends() -> None:
    long = [(update, update / 7) for update in range(0, 5000, 10)]
    thinned = thin(long)
    assert len(thinned) == 60 and thinned[0] == long[0] and thinned[-1] == long[-1] and set(thinned) <= set(long)
    lags = [(lag, 1.0) for lag in range(1000)]
    near = np.array([lag for lag, _ in thin_lags(lags)])
    assert len(near) <= 60 and near[0] == 0 and near[-1] == 999 and np.diff(near)[:5].tolist() == [1] * 5
