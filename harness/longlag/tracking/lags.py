"""Which lags of a curve are recorded and drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POINTS = 32


def lags(steps: int, most: int = POINTS) -> NDArray[np.int64]:
    """At most so many of the lags of ``steps`` steps, from 0 to the longest, evenly spaced in their logarithm."""
    return np.unique(np.geomspace(1, steps, most).round().astype(np.int64)) - 1
