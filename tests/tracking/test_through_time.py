"""Which gradient curves become series, and what the file beside them holds."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save

from longlag.probes import Curve
from longlag.tracking import figures
from longlag.tracking.lags import lags
from longlag.tracking.throughtime import CurveHistory, planned, read, series
from tests.tracking.curves import curve

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("updates", "every"), [(1, 1), (5, 10), (300, 25), (5000, 200), (100_000, 100), (7, 2)])
def test_at_most_three_updates_are_planned_and_they_begin_before_training(updates: int, every: int) -> None:
    chosen = planned(updates, every)
    assert chosen[0] == 0 and list(chosen) == sorted(set(chosen))
    assert len(chosen) <= 3  # and the last one makes four
    assert all(update % every == 0 and update < updates for update in chosen)


def test_runs_with_the_same_schedule_share_their_names_whatever_the_budget() -> None:
    assert planned(5000, 200) == (0, 200, 3200)
    assert planned(400, 200) == (0, 200)


@pytest.mark.parametrize("steps", [1, 2, 200, 201, 1000, 100_000])
def test_a_series_has_at_most_32_points_from_the_first_step_to_the_last(steps: int) -> None:
    drawn = list(series(curve(steps, 0.999)))
    assert len(drawn) == min(steps, len(drawn)) <= 32
    t = [step for step, _ in drawn]
    assert t[0] == 1 and t[-1] == steps and t == sorted(set(t))
    assert all(norm == pytest.approx(0.999 ** (steps - step)) for step, norm in drawn)


def test_points_are_dense_at_small_lags() -> None:
    chosen = lags(10_000)
    assert set(range(4)) <= set(chosen.tolist())
    assert np.diff(chosen)[-1] > 100
    steps = np.diff(np.log(chosen[10:] + 1))
    assert steps.max() < 0.35, "a seventh of a decade, up to the longest"


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
    flow = CurveHistory()
    for number in range(5):
        flow.add(10 * number, [curve(40, 0.5 + number / 10), padded()])
    flow.write(tmp_path)
    arrays = load_file(tmp_path / "gradient_through_time.safetensors")
    assert set(arrays) == {"updates", "layer1.h/by_lag", "layer2.c/by_lag", "layer2.c/per_step"}
    assert arrays["updates"].tolist() == [0, 10, 20, 30, 40]
    assert arrays["layer1.h/by_lag"].shape == (5, 40) and arrays["layer1.h/by_lag"].dtype == np.float32
    np.testing.assert_allclose(arrays["layer1.h/by_lag"][2], 0.7 ** np.arange(40), rtol=1e-6)
    shown = drawing(tmp_path / "gradient_through_time.svg")
    assert {"layer1.h", "layer2.c"} <= {label.split("∂")[-1].rstrip("‖") for label in texts(shown)}
    assert [text for text in texts(shown) if text in ("0", "10", "20", "30", "40")].count("40") >= 1, "the updates"


def test_the_file_keeps_the_order_of_the_curves(tmp_path: Path) -> None:
    flow = CurveHistory()
    for update in (0, 10):
        flow.add(update, [curve(40, state=state) for state in ("re", "im", "h")])
    flow.write(tmp_path)
    found = read((tmp_path / "gradient_through_time.safetensors").read_bytes())
    assert list(found) == ["layer1.re", "layer1.im", "layer1.h"]
    np.testing.assert_allclose(found["layer1.im"], np.tile(0.9 ** np.arange(40), (2, 1)), rtol=1e-6)


def test_curves_of_several_lengths_are_padded() -> None:
    flow = CurveHistory()
    flow.add(0, [curve(3)])
    flow.add(1, [curve(5)])
    assert np.isnan(flow.arrays()["layer1.h/by_lag"]).tolist() == [[False] * 3 + [True] * 2, [False] * 5]


def test_norms_below_single_precision_are_kept() -> None:
    flow = CurveHistory()
    flow.add(0, [curve(200, 0.1)])
    stored = flow.arrays()["layer1.h/by_lag"]
    assert stored.dtype == np.float64
    assert stored[0, -1] == pytest.approx(1e-199)


def drawing(path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def texts(shown: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in shown.iter(f"{SVG}text")]


def curves_of(shown: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """The coloured lines that are no sample of the legend, each as its points."""
    paths = [element.get("d", "") for element in shown.iter(f"{SVG}path") if element.get("stroke")]
    return [
        [(float(x), float(y)) for x, y in (point.split() for point in re.split("[ML]", path) if point)]
        for path in paths
        if "h" not in path
    ]


@pytest.mark.parametrize("case", ["one", "zeros", "not finite", "one step", "long", "equal"])
def test_a_picture_is_drawn_of_whatever_was_measured(tmp_path: Path, case: str) -> None:
    values = {
        "one": np.ones((1, 10)),
        "zeros": np.zeros((3, 50)),
        "not finite": np.full((3, 50), np.nan),
        "one step": np.ones((4, 1)),
        "long": 0.99 ** np.arange(5000)[None, :].repeat(3, 0),
        "equal": np.full((3, 50), 0.3),
    }[case]
    figures.through_time(list(range(len(values))), {"layer1.h": values}, tmp_path / "x.svg")
    shown = drawing(tmp_path / "x.svg")
    assert not {"nan", "inf", "-inf"} & set(re.findall("[a-z-]+", (tmp_path / "x.svg").read_text("utf-8")))
    assert len(curves_of(shown)) == len(values)
    some = case not in ("one", "zeros", "not finite", "one step")
    assert len(list(shown.iter(f"{SVG}image"))) == 2 * some, "a map and its colours, or a note"
    assert ("too few measurements for a map" in texts(shown)) != some


def test_lines_stand_where_the_axes_say(tmp_path: Path) -> None:
    """A norm of 10^-k at lag k: the line passes the crossings of the ticks, and underflow is a gap."""
    norms = np.concatenate([10.0 ** -np.arange(8), [0.0]])
    figures.through_time([0], {"layer1.h": norms[None]}, tmp_path / "x.svg", map=False)
    shown = drawing(tmp_path / "x.svg")
    (line,) = curves_of(shown)
    assert len(line) == 8, "zero has no place on a logarithmic axis"
    at = {
        (element.text, element.get("class")): (float(element.get("x", 0)), float(element.get("y", 0)))
        for element in shown.iter(f"{SVG}text")
    }
    for lag, name in ((2, "0.01"), (4, "0.0001"), (6, "1e-06")):
        assert line[lag][0] == pytest.approx(at[str(lag), "t m"][0], abs=0.2)
        assert line[lag][1] == pytest.approx(at[name, "t e"][1] - 4, abs=0.2)


def test_the_map_has_the_colours_of_its_values(tmp_path: Path) -> None:
    """Early updates at the one end of the colours, late ones at the other; zero and what is not finite in grey."""
    values = np.array([1e-4, 1e-2, 1.0, np.nan])[:, None].repeat(60, 1)
    figures.through_time([0, 10, 20, 30], {"layer1.h": values}, tmp_path / "x.svg", lines=False)
    image = next(drawing(tmp_path / "x.svg").iter(f"{SVG}image")).get("href", "")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.split(",")[1]))).convert("RGB"))
    height, width, _ = pixels.shape
    row = [tuple(pixels[height // 2, round(share * (width - 1))].tolist()) for share in (0.05, 0.33, 0.66, 0.99)]
    assert row == [(0x44, 0x01, 0x54), (0x21, 0x91, 0x8C), (0xFD, 0xE7, 0x25), (216, 216, 216)]


def test_a_picture_of_many_long_curves_stays_small(tmp_path: Path) -> None:
    """Of 200 evaluations over 5,000 steps eight lines of at most 256 points and a map of pixels, as every run draws."""
    curve = np.power(0.99, np.arange(5000.0))
    figures.through_time(range(200), {"layer1.h": curve[None].repeat(200, 0)}, tmp_path / "x.svg")
    lines = curves_of(drawing(tmp_path / "x.svg"))
    assert len(lines) == 8 and all(100 < len(line) <= 256 for line in lines)
    assert (tmp_path / "x.svg").stat().st_size < 100_000
