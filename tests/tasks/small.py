"""Options of tasks in place of defaults that only cost the tests time."""

from __future__ import annotations

SMALL: dict[str, dict[str, object]] = {
    "pen-strokes": {"mixtures": 2},  # densities of twenty Gaussians are counted like those of two
    "spoken-words": {"voices": 2, "utterances": 3},  # of 24 voices with 40 each; what is held out stays
}
