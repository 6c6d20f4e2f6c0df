"""The store and the study of a test."""

from __future__ import annotations

import pytest

from longlag.tracking.home import Home
from longlag.tracking.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(Home.open(tmp_path_factory.mktemp("tracking") / "hö me"))


@pytest.fixture
def experiment(store: Store, request: pytest.FixtureRequest) -> str:
    return store.experiment(f"study-{request.node.name}"[:90], "# What it is")
