"""Where albums come from: scenes drawn here, or files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from longlag.task import Array, DataError, quoted
from longlag_tasks import _captionfiles as recorded
from longlag_tasks import _scenes as scenes
from longlag_tasks._album import Album
from longlag_tasks._pairs import ENDING, UNKNOWN, Coded, symbols_of
from longlag_tasks._recorded import held_out
from longlag_tasks._textfiles import digest
from longlag_tasks._vocabulary import vocabulary

SPLIT_SEED = 0
"""Of the scenes and of what is held out: the same on every machine, whatever the run's seed."""

HELD_OUT = 2000
"""Scenes for validation and test together."""


@cache
def drawn(size: int | None, training_scenes: int, combinations: bool) -> tuple[Album, scenes.Scenes]:
    """Different scenes and their captions.

    Args:
        size: of the random projection of their pixels; None for the pixels themselves.
        training_scenes: how many there are for training.
        combinations: whether those held out have a colour of a shape that training never shows.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    pool = scenes.draw(rng, 4 * (training_scenes + HELD_OUT))
    shown = pool.shown()
    _, different = np.unique(shown.view(f"V{shown.shape[1]}").ravel(), return_index=True)
    different = np.sort(different)
    unseen = np.isin(pool.kinds[different], scenes.HELD_KINDS).any(1) & combinations
    training, rest = different[~unseen], different[unseen]
    training, other = training[:training_scenes], training[training_scenes:]
    held = (rest if combinations else other)[:HELD_OUT]
    chosen = pool.some(np.concatenate([training, held]))
    pictures, relations = chosen.render(), chosen.relations()
    if size is None:
        features = pictures.astype(np.float32)
    else:
        matrix = rng.normal(size=(scenes.PIXELS, size)) / np.sqrt(8 * scenes.CELL)
        features = (pictures.astype(np.float32) @ matrix.astype(np.float32)).astype(np.float32)
    texts = [scenes.captions(chosen.claims(n), relations[n]) for n in range(len(pictures))]
    split = len(training) + HELD_OUT // 2
    rows = np.arange(len(pictures))
    parts = {"training": rows[: len(training)], "validation": rows[len(training) : split], "test": rows[split:]}
    cut = [text.split() for each in texts for text in each]
    return album_of(features, texts, cut, symbols_of(cut, ENDING), parts), chosen


@cache
def loaded(path: str, features_path: str, sha256: str, most_words: int, fraction: float) -> Album:
    """The captions and features of files.

    Args:
        path: of the captions.
        features_path: of the features.
        sha256: of both.
        most_words: of the vocabulary.
        fraction: of the pictures that is held out where the file has no splits.
    """
    if digest([path, features_path]) != sha256:
        raise DataError(f"{path} or {features_path} has changed; leave sha256 out to take them as they are")
    found, vectors = recorded.captioned(path), recorded.features(features_path)
    missing = next((name for name in found if name not in vectors), None)
    if missing is not None:
        raise DataError(f"{features_path}: there are no features of the picture {quoted(missing)} in {path}")
    names = np.array(list(found))
    splits = [split for _, split in found.values()]
    if any(split is not None for split in splits):
        rows = {
            name: np.flatnonzero([split == name for split in splits]) for name in ("training", "validation", "test")
        }
    else:
        rows = held_out(len(names), fraction)
    empty = next((name for name, each in rows.items() if not len(each)), None)
    if empty is not None:
        raise DataError(f"{path}: no picture is left for {empty}")
    texts = [captions for captions, _ in found.values()]
    learnt = [text for n in rows["training"] for text in texts[n]]
    symbols, cut, _ = vocabulary(learnt, "words", most_words, (ENDING, UNKNOWN))
    features = np.stack([vectors[name] for name in found])
    return album_of(features, texts, [cut(text) for each in texts for text in each], symbols, rows)


def album_of(
    features: Array, texts: list[list[str]], cut: list[list[str]], symbols: list[str], rows: Mapping[str, Array]
) -> Album:
    many = np.array([len(each) for each in texts])
    coded = Coded.of(cut, symbols, end=True)
    return Album(features, coded, many.cumsum() - many, many, [text for each in texts for text in each], rows)
