"""Forecasting: the equation against its closed form, cuts that never look ahead, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks import _series as series
from longlag_tasks._mackey import mackey_glass
from longlag_tasks._windows import Windows


def forecasting(**options: object) -> Task:
    return TaskSpec(name="forecasting", **options).build()


def test_mackey_glass_is_a_linear_equation_until_the_delay_has_passed() -> None:
    """Up to tau the delayed value is constant: x decays towards 0.2 x0 / (1 + x0^10) / 0.1."""
    found = mackey_glass(17, tau=17, start=1.2, skipped=0)
    rest = 0.2 * 1.2 / (1 + 1.2**10) / 0.1
    assert found == pytest.approx(rest + (1.2 - rest) * np.exp(-0.1 * np.arange(1, 18)), abs=1e-9)


def test_mackey_glass_stays_at_its_fixed_point_and_not_elsewhere() -> None:
    assert mackey_glass(200, start=1.0) == pytest.approx(1.0)  # 0.2 / (1 + 1) = 0.1
    assert mackey_glass(500).std() > 0.2
    assert mackey_glass(50)[0] == 0.900290863547506  # to the last bit, wherever it is run


def test_windows_hold_every_late_value_out_and_count_each_once() -> None:
    windows = Windows(count=103, length=10, ahead=3, warmup=4, held_out=0.3, name="it")
    rng = np.random.default_rng(0)
    starts = windows.draw(rng, 5000)
    assert starts.min() == 0
    assert windows.steps(starts).max() + 3 == windows.training - 1
    held = [*windows.part("validation"), *windows.part("test")]
    assert held == list(range(windows.training, 103))
    for name in ("validation", "test"):
        starts, counted = windows.fixed(name, 1000)
        due = (windows.steps(starts) + 3)[counted]
        assert sorted(due) == list(windows.part(name))
        assert not counted[:4].any()
        assert windows.fixed(name, 2)[0].shape == (2,)


def test_weights_are_how_often_windows_count_each_target() -> None:
    windows = Windows(count=60, length=8, ahead=2, warmup=3, held_out=0.2, name="it")
    wanted = np.zeros(windows.training)
    for start in range(windows.training - 9):
        wanted[start + 2 + 3 : start + 2 + 8] += 1
    assert windows.weights() == pytest.approx(wanted / wanted.sum())


@pytest.mark.parametrize("changes", [False, True])
def test_inputs_and_targets_are_the_series_in_units_of_its_training_part(changes: bool) -> None:
    task = forecasting(samples=300, horizon=4, length=12, warmup=3, changes=changes)
    values = mackey_glass(300)
    read = np.diff(values, prepend=values[0]) if changes else values
    due = values[4:] - values[:-4] if changes else values[4:]
    batch = task.split("test", np.random.default_rng(0), 100)
    last = batch.targets[-1, -1, 0] * due[:236].std() + due[:236].mean()  # 240 values are trained on
    assert last == pytest.approx(due[-1], abs=1e-6)
    assert batch.inputs[-1, -1, 0] == pytest.approx((read[-5] - read[:240].mean()) / read[:240].std(), abs=1e-5)


@pytest.mark.parametrize("changes", [False, True])
def test_persistence_scores_one_and_rmse_is_in_the_units_of_the_series(changes: bool) -> None:
    task = forecasting(samples=400, changes=changes)
    batch = task.split("test", np.random.default_rng(0), 100)
    measured = task.measure(task._prepared.persistence(batch.inputs), batch)
    assert measured["persistence_ratio"] == pytest.approx(1)
    values = mackey_glass(400)
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((values[360:] - values[354:-6]) ** 2)), rel=1e-5)


def test_recorded_series_are_whole() -> None:
    sunspots, carbon = series.packaged("sunspots"), series.packaged("co2")
    assert (len(sunspots), sunspots[0], sunspots[-1]) == (309, 5, 2.9)
    assert (len(carbon), carbon[0], carbon[-1]) == (2284, 316.1, 371.5)
    assert carbon[5:8] == pytest.approx([316.9, (316.9 + 317.5) / 2, 317.5])  # the week of 1958-05-10 is missing


def test_co2_is_foretold_as_changes_unless_told_otherwise() -> None:
    assert forecasting(series="co2")._prepared.changes
    assert not forecasting(series="co2", changes=False)._prepared.changes
    assert not forecasting(series="sunspots")._prepared.changes


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longlag.packages.find_spec", lambda name: None)
    series.packaged.cache_clear()
    with pytest.raises(UserError, match=r"statsmodels: pip install 'longlag\[series\]'"):
        forecasting(series="sunspots").baseline()


def test_a_column_of_any_file(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    values = np.sin(np.arange(200) / 5)
    path.write_text("\n".join(["time,wave,last", *(f"{n},{value},{n % 7}" for n, value in enumerate(values))]))
    spec = TaskSpec(name="forecasting", path=str(path), column="wave", length=20, warmup=5)
    assert len(spec.options["sha256"]) == 64
    batch = spec.build().split("test", np.random.default_rng(0), 50)
    wanted = (values[-1] - values[6:160].mean()) / values[6:160].std()
    assert batch.targets[-1, -1, 0] == pytest.approx(wanted, abs=1e-5)
    path.write_text(path.read_text().replace("0.0", "0.1", 1))
    with pytest.raises(UserError, match="has changed"):
        TaskSpec(name="forecasting", **spec.options).build().baseline()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it.csv: is empty"),
        ("a,b\n", "holds no value below its header"),
        ("a,b\n1,2\n1\n", "it.csv, line 3: has 1 columns, not 2"),
        ("a,b\n1,2\n1,x\n", "it.csv, line 3: 'b' is 'x', not a number"),
        ("a,b\n1,nan\n", "it.csv, line 2: 'b' is nan"),
        ("a,b\n" + "1,2\n" * 200, "never changes in the 160 values of its training part"),
        ("a,b\n" + "1,2\n" * 20, "leaves 16 values to train on, fewer than the 66 of one window"),
    ],
)
def test_bad_files_give_one_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "it.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        forecasting(path=str(path)).baseline()
    assert "\n" not in str(caught.value)


def test_other_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(UserError, match="line 2: is not UTF-8"):
        forecasting(path=str(path)).baseline()
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="line 1: there is no column 'c'; there are 'a', 'b'"):
        forecasting(path=str(path), column="c").baseline()
    with pytest.raises(UserError, match="there is no such file"):
        forecasting(path=str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"warmup": 60}, "warmup should be below the length, 60, not 60"),
        ({"column": "b"}, "column: of the file at path, which is missing"),
        ({"horizon": 0}, "horizon: .*greater than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'forecasting': .*{sentence}"):
        TaskSpec(name="forecasting", **options)
