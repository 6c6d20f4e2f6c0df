"""Captions from JSON files as COCO and Flickr8k have them, with features computed elsewhere."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from typing import Any

import numpy as np

from longlag.task import Array, DataError, opened, quoted
from longlag_tasks._textfiles import LARGEST, place, reason, whole

SPLITS = {"train": "training", "restval": "training", "val": "validation", "validation": "validation", "test": "test"}
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Captioned = dict[str, tuple[list[str], str | None]]
"""From a picture's name to its captions and its split, where the file says one."""


def words(caption: str) -> list[str]:
    """Lower-case words without punctuation, as is usual in captioning."""
    return WORD.findall(caption.lower())


def captioned(path: str) -> Captioned:
    """The captions of either layout.

    COCO: ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``. Flickr8k as Karpathy and
    Fei-Fei (2015) split it: ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``.

    Raises:
        DataError: naming file and entry.
    """
    try:
        content = json.loads(whole(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: is not JSON ({error.msg})") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{path}: is no caption file: there is no list 'images'")
    found = _coco(path, content) if "annotations" in content else _karpathy(path, content)
    without = next((name for name, (captions, _) in found.items() if not captions), None)
    if without is not None:
        raise DataError(f"{path}: the picture {quoted(without)} has no caption")
    return found


def _coco(path: str, content: dict[str, Any]) -> Captioned:
    names: dict[Any, str] = {}
    for number, image in enumerate(content["images"]):
        where = f"{path}, images[{number}]"
        names[_entry(image, "id", where)] = str(_entry(image, "file_name", where))
    found: Captioned = {name: ([], None) for name in names.values()}
    for number, note in enumerate(content["annotations"]):
        where = f"{path}, annotations[{number}]"
        image = _entry(note, "image_id", where)
        if image not in names:
            raise DataError(f"{where}: there is no picture with the id {quoted(image)}")
        found[names[image]][0].append(_caption(_entry(note, "caption", where), where))
    return found


def _karpathy(path: str, content: dict[str, Any]) -> Captioned:
    found: Captioned = {}
    for number, image in enumerate(content["images"]):
        where = f"{path}, images[{number}]"
        name, sentences = str(_entry(image, "filename", where)), _entry(image, "sentences", where)
        split = image.get("split")
        if split is not None and split not in SPLITS:
            raise DataError(f"{where}: the split is one of {', '.join(SPLITS)}, not {quoted(split)}")
        texts = [
            _caption(_entry(sentence, "raw", f"{where}, sentences[{n}]"), f"{where}, sentences[{n}]")
            for n, sentence in enumerate(sentences)
        ]
        found[name] = (texts, None if split is None else SPLITS[split])
    return found


def _entry(value: Any, key: str, where: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise DataError(f"{where}: there is no {quoted(key)}")
    return value[key]


def _caption(value: Any, where: str) -> str:
    if not isinstance(value, str) or not words(value):
        raise DataError(f"{where}: the caption is empty" if isinstance(value, str) else f"{where}: is not text")
    return " ".join(words(value))


def features(path: str) -> dict[str, Array]:
    """Feature vectors float32 ``[C]`` by picture, from an ``.npz`` with ``names`` ``[N]`` and ``features`` ``[N, C]``.

    Raises:
        DataError: naming file and row.
    """
    try:
        with opened(place(path), LARGEST) as packed, np.load(packed, allow_pickle=False) as file:
            missing = [name for name in ("names", "features") if name not in file]
            if missing:
                raise DataError(
                    f"{path}: there is no array {quoted(missing[0])}; it has {', '.join(file.files) or 'none'}"
                )
            names, values = file["names"], file["features"]
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        raise DataError(f"{path}: is no .npz archive of plain arrays, or damaged ({error})") from error
    if names.ndim != 1 or values.ndim != 2 or len(names) != len(values) or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: names should be [N] and features numbers [N, C], "
            f"not {names.shape} and {values.dtype} {values.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise DataError(f"{path}, row {bad[0]} ({names[bad[0]]}): the features are not all finite")
    return {str(name): row for name, row in zip(names, values.astype(np.float32), strict=True)}
