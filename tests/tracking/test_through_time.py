"""Which gradient curves become series, and what the file beside them holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from harness.probes import Curve
from harness.tracking import figures
from harness.tracking.throughtime import Flow, planned, points, read, series
from tests.tracking.curves import curve


@pytest.mark.parametrize(("updates", "every"), [(1, 1), (5, 10), (300, 25), (5000, 200), (100_000, 100), (7, 2)])
def test_at_most_five_updates_are_planned_and_they_begin_before_training(updates: int, every: int) -> None:
    chosen = planned(updates, every)
    assert chosen[0] == 0 and list(chosen) == sorted(set(chosen))
    assert len(chosen) <= 5  # and the last one makes six
    assert all(update % every == 0 and update < updates for update in chosen)


def test_runs_with_the_same_schedule_share_their_names_whatever_the_budget() -> None:
    assert planned(5000, 200) == (0, 200, 400, 1600, 3200)
    assert planned(400, 200) == (0, 200)


@pytest.mark.parametrize("steps", [1, 2, 200, 201, 1000, 100_000])
def test_a_series_has_at_most_200_points_from_the_first_step_to_the_last(steps: int) -> None:
    drawn = list(series(curve(steps, 0.999)))
    assert len(drawn) == min(steps, len(drawn)) <= 200
    t = [step for step, _ in drawn]
    assert t[0] == 1 and t[-1] == steps and t == sorted(set(t))
    assert all(norm == pytest.approx(0.999 ** (steps - step)) for step, norm in drawn)


def test_points_are_dense_at_small_lags() -> None:
    lags = 9999 - points(10_000)[::-1]
    assert set(range(20)) <= set(lags.tolist())
    assert np.diff(lags)[-1] > 100


def padded() -> Curve:
    return Curve("layer2", "c", np.array([1.0, 2.0, 3.0]), np.array([2.5, 2.0, 1.0]))


@pytest.mark.parametrize("metadata", [None, {"longlag": "mean over examples of the norm"}, {"longlag": "{}"}])
def test_a_file_of_before_the_order_was_written_down(metadata: dict[str, str] | None) -> None:
    rows = {name: np.full((2, 3), float(number)) for number, name in enumerate(("layer1.c", "layer1.h", "layer2.h"))}
    data = save({"updates": np.arange(2), **{f"{name}/by_lag": row for name, row in rows.items()}}, metadata=metadata)
    found = read(data)
    assert list(found) == ["layer1.h", "layer2.h", "layer1.c"], "what stands for a layer's output first"
    for name, row in rows.items():
        np.testing.assert_array_equal(found[name], row)


def test_the_file_holds_every_evaluation(tmp_path: Path) -> None:
    flow = Flow()
    for number in range(5):
        flow.add(10 * number, [curve(40, 0.5 + number / 10), padded()])
    flow.write(tmp_path)
    arrays = load_file(tmp_path / "gradient_through_time.safetensors")
    assert set(arrays) == {"updates", "layer1.h/by_lag", "layer2.c/by_lag", "layer2.c/by_step"}
    assert arrays["updates"].tolist() == [0, 10, 20, 30, 40]
    assert arrays["layer1.h/by_lag"].shape == (5, 40) and arrays["layer1.h/by_lag"].dtype == np.float32
    np.testing.assert_allclose(arrays["layer1.h/by_lag"][2], 0.7 ** np.arange(40), rtol=1e-6)
    assert (tmp_path / "gradient_through_time.png").stat().st_size > 10_000


def test_the_file_keeps_the_order_of_the_curves(tmp_path: Path) -> None:
    flow = Flow()
    for update in (0, 10):
        flow.add(update, [curve(40, state=state) for state in ("re", "im", "h")])
    flow.write(tmp_path)
    found = read((tmp_path / "gradient_through_time.safetensors").read_bytes())
    assert list(found) == ["layer1.re", "layer1.im", "layer1.h"]
    np.testing.assert_allclose(found["layer1.im"], np.tile(0.9 ** np.arange(40), (2, 1)), rtol=1e-6)


def test_curves_of_several_lengths_are_padded() -> None:
    flow = Flow()
    flow.add(0, [curve(3)])
    flow.add(1, [curve(5)])
    assert np.isnan(flow.arrays()["layer1.h/by_lag"]).tolist() == [[False] * 3 + [True] * 2, [False] * 5]


def test_norms_below_single_precision_are_kept() -> None:
    flow = Flow()
    flow.add(0, [curve(200, 0.1)])
    stored = flow.arrays()["layer1.h/by_lag"]
    assert stored.dtype == np.float64
    assert stored[0, -1] == pytest.approx(1e-199)


@pytest.mark.parametrize("case", ["one", "zeros", "not finite", "one step", "long"])
def test_a_picture_is_drawn_of_whatever_was_measured(tmp_path: Path, case: str) -> None:
    values = {
        "one": np.ones((1, 10)),
        "zeros": np.zeros((3, 50)),
        "not finite": np.full((3, 50), np.nan),
        "one step": np.ones((4, 1)),
        "long": 0.99 ** np.arange(5000)[None, :].repeat(3, 0),
    }[case]
    figures.through_time(list(range(len(values))), {"layer1.h": values}, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
