"""Gradient curves with a known shape, for tests that train nothing."""

from __future__ import annotations

import numpy as np

from longlag.probes import Curve


def curve(steps: int, decay: float = 0.9, part: str = "layer1", state: str = "h") -> Curve:
    """``decay ** lag``."""
    by_lag = decay ** np.arange(steps, dtype=np.float64)
    return Curve(part, state, by_lag[::-1].copy(), by_lag)
