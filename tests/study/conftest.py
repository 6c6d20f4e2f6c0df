"""What all tests of studies share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pictures import undrawn


@pytest.fixture(autouse=True, scope="module")
def no_pictures() -> Iterator[None]:
    with undrawn():
        yield
