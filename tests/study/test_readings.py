"""A reading of a study's trials takes time for each that is running: it is made once for each new trial."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from longlag.spec import load_study
from longlag.study.search import StudySearch
from longlag.study.storage import no_experimental_warnings
from longlag.study.store import StudyStore


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_the_trials_are_read_once_for_each_new_one(
    sampler: str, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[int] = []
    read = optuna.storages.RDBStorage._get_trials

    def counted(*arguments: Any, **keywords: Any) -> Any:
        readings.append(len(asked))
        return read(*arguments, **keywords)

    monkeypatch.setattr(optuna.storages.RDBStorage, "_get_trials", counted)
    fields = {"name": "readings", "base": tiny, "space": {"model.depth": [1, 2, 3], "model.hidden_size": [4, 5]}}
    known = [{"model.depth": 3, "model.hidden_size": 5}, {"model.depth": 1, "model.hidden_size": 5}]
    spec = load_study({**fields, "sampler": sampler, "enqueue": known, "total_updates": 1000})
    with no_experimental_warnings():
        study_store = StudyStore.open(spec, f"sqlite:///{tmp_path / 'studies.db'}")
        search, asked = StudySearch(study_store, lambda _: ()), []
        with closing(study_store.storage), closing(search.heartbeat):
            for slot in range(5):
                request = search.ask(slot)
                assert request is not None
                asked.append((request.spec.model.depth, request.spec.model.hidden_size))
    assert readings == [0, 1, 2, 3, 4]
    assert asked[:2] == [(3, 5), (1, 5)]
    assert sampler != "grid" or len(set(asked)) == 5
