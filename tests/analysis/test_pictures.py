"""The pictures of a study: which runs stand in them, and with what."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longlag
from longlag import report
from longlag.analysis.pictures import Seed, curves, gather, legend, main_output, scores
from longlag.spec import label
from longlag.tracking import figures, throughtime
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult

STUDY: dict[str, Any] = {
    "name": "pictured",
    "base": {
        "task": {"name": "copy-memory", "symbols": 2},
        "model": {"hidden_size": 4},
        "training": {"batch_size": 4, "updates": 4, "eval_every": 2},
        "data": {"validation": 8, "test": 8},
        "probe": {"batch_size": 4, "training": False},
    },
    "space": {
        "cell": ["rnn", {"name": "rnn", "activation": "relu"}],
        "task.length": [3],
        "optimizer.lr": [0.001, 0.01],
    },
    "seeds": [0, 1],
    "sampler": {"name": "grid"},
}


def test_a_study_ends_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for picture in ("through_time", "predictions"):  # those of the runs take a second each
        monkeypatch.setattr(figures, picture, lambda *_, **__: None)
    result = longlag.sweep(STUDY, home=tmp_path)
    store = Store.open(Home.open(tmp_path))
    rows = gather(result, store)
    assert set(rows) == {"copy-memory, length 3"}
    for cells in rows.values():
        assert set(cells) == {"rnn", "rnn(activation=relu)"}, "one line for each choice of a cell"
        for cell, seeds in cells.items():
            same = [trial for trial in result.trials if label(trial.point["cell"]) == cell]
            assert len(same) == 2
            best = min(same, key=lambda trial: trial.objective or math.inf)
            assert [seed.run for seed in seeds] == list(best.runs), "the seeds of the best setting, all of them"
            for seed, run_id in zip(seeds, best.run_ids, strict=True):
                data = store.file(run_id, "gradient_by_lag.safetensors")
                assert seed.kind == "lag" and data is not None
                stored = throughtime.read(data)["layer1.h"]
                assert np.array_equal(seed.before, stored[0]) and np.array_equal(seed.after, stored[-1])
                assert len(seed.before) == seed.run.gradient["initial_lag_steps"] + 1
                assert list(seed.score) == [2, 4]
    own = store.client.search_runs([result.experiment], "tags.`longlag.study_identity` != ''")[0]
    names = {artifact.path for artifact in store.client.list_artifacts(own.info.run_id)}
    assert {"curves.png", "curves.pdf", "correlation.png"} <= names
    assert {path.name for path in (tmp_path / "reports" / "pictured").glob("[!.]*")} <= names
    assert report("pictured", home=tmp_path) == result

    torn = result.trials[0].run_ids[0]
    for file in tmp_path.rglob("gradient_by_lag.safetensors"):
        if torn in file.parts:
            file.write_bytes(file.read_bytes()[:40])
    left = [seed for cells in gather(result, store).values() for seeds in cells.values() for seed in seeds]
    everyone = [seed for cells in rows.values() for seeds in cells.values() for seed in seeds]
    assert len(left) == len(everyone) - 1
    assert (
        f"run {torn} is not in the picture of curves: gradient_by_lag.safetensors cannot be used, it is" in caplog.text
    )


def seed(outcome: str, score: dict[int, float], solved_at: int | None = None) -> Seed:
    fields: dict[str, Any] = {"outcome": outcome, "solved_at": solved_at}
    return Seed(RunResult.model_construct(**fields), "lag", np.ones(5), 0.1 ** np.arange(5.0), score)


def test_runs_that_ended_early_count_to_the_end() -> None:
    seeds = [
        seed("budget", {10: 0.9, 20: 0.8, 30: 0.7}),
        seed("solved", {10: 0.01}, solved_at=10),
        seed("diverged", {10: 1.0, 20: 3.0}),
    ]
    updates, values = scores(seeds)
    assert updates.tolist() == [10, 20, 30]
    assert values.tolist() == [[0.9, 0.8, 0.7], [0.01, 0.01, 0.01], [1.0, 3.0, math.inf]]
    assert legend("gru", seeds) == "gru (3 seeds, 1 solved, 1 diverged)"


@pytest.mark.parametrize("score", [{}, {10: 0.5}, {10: math.inf}])
def test_a_picture_is_drawn_of_whatever_there_is(score: dict[int, float], tmp_path: Path) -> None:
    curves({"adding": {"rnn": [seed("diverged", score)] * 2}}, "x", [tmp_path / "x.png", tmp_path / "x.pdf"])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("names", "depth", "chosen"),
    [
        (["layer1.h", "layer1.c", "layer2.h", "layer2.c"], 2, "layer2.h"),
        (["layer1.re", "layer1.im", "layer1.h"], 1, "layer1.re"),
        (["encoder.layer1.h", "layer1.h"], 1, "encoder.layer1.h"),
        (["layer1.h", "layer10.h"], 10, "layer10.h"),
    ],
)
def test_the_output_of_the_main_part_is_shown(names: list[str], depth: int, chosen: str) -> None:
    assert main_output(names, depth) == chosen
