"""Options of tasks in place of defaults that only cost the tests time."""

from __future__ import annotations

SMALL: dict[str, dict[str, object]] = {
    "pen-strokes": {"mixtures": 2},  # densities of twenty Gaussians are counted like those of two
    "spoken-words": {"voices": 2, "utterances": 3},  # of 24 voices with 40 each; what is held out stays
    **{name: {"length": 12} for name in ("parity", "even-pairs", "cycle-navigation", "majority", "modular-arithmetic")},
    **{name: {"length": 8} for name in ("reverse-string", "duplicate-string", "odds-first", "bucket-sort")},
    **{name: {"length": 12} for name in ("stack-manipulation", "missing-duplicate", "counting", "dyck")},
    "series-classification": {"series": "GunPoint"},  # 150 steps in place of 1460
    "word-problem": {"length": 8},
    "mad": {"length": 24, "vocabulary": 16, "copied": 4},
    "phonebook": {"lines": 3},
    "linear-teacher": {"length": 40},
    "delayed-xor": {"length": 40},
    "listops": {"least": 20, "length": 60, "depth": 5, "pool": 300},
}
