"""Speech from a corpus on this machine: TIMIT-like folders, or recordings with transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, DataError, Package, quoted
from longlag_tasks._audio import read_audio
from longlag_tasks._corpus import READ, SILENT, Recording, divided, timit, transcribed
from longlag_tasks._local import LocalOptions, local
from longlag_tasks._mel import HOP, log_mel
from longlag_tasks._packages import SOUNDFILE
from longlag_tasks._prepared import lists, prepared
from longlag_tasks._recordings import RecordedOptions, RecordedTask, Speech, Utterances
from longlag_tasks._speech import Labels
from longlag_tasks._textfiles import below, place
from longlag_tasks._utterances import Ragged


class SpeechCorpusOptions(LocalOptions, RecordedOptions):
    """Options of `SpeechCorpus`."""

    path: str | None = Field(None, description="folder of the corpus; to be given")
    layout: Literal["timit", "transcripts"] = Field(
        "timit",
        description="timit: a .PHN beside each recording; transcripts: metadata.csv or metadata.jsonl with the "
        "columns file_name and transcription, or a .txt beside each recording",
    )
    labels: Labels | None = Field(
        None, description="frames or sequence, as in spoken-words; none: frames for timit. Transcripts are sequences"
    )
    fold: bool = Field(True, description="timit: 61 phones as 39 classes (Lee and Hon 1989), closures being silence")
    lower: bool = Field(True, description="transcripts: capitals as small letters")
    characters: str = Field("", description="transcripts: those that may occur; empty: those of the training texts")
    rate: int = Field(16_000, ge=4000, description="Hz, of every recording")
    held_out: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of the speakers (timit) or recordings (transcripts) held out for validation, and for the "
        "test, where no folder or column names these splits",
    )
    snr: float | None = Field(
        None, description="dB: noise with the spectrum of speech, so far below it, drawn anew in every batch; none: no"
    )
    delay: int = Field(0, ge=0, description="frames: a frame's label is due so many frames later")
    bands: int = Field(26, ge=4, le=80, description="log-mel bands of a frame")
    solved_accuracy: float = Field(0.7, gt=0, le=1, description="frames: solved when so large a share is right")
    solved_error_rate: float = Field(0.25, ge=0, lt=1, description="sequence: solved when the error rate is no larger")

    @classmethod
    def files(cls, path: str) -> list[str]:
        return [str(file) for file in below(path) if file.suffix.lower() in READ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.layout == "transcripts" and self.labels == "frames":
            raise ValueError("transcripts do not say when a character is spoken: set labels=sequence")
        if self.delay and (self.labels == "sequence" or self.layout == "transcripts"):
            raise ValueError("CTC chooses itself when it answers: set delay only where labels is 'frames'")
        return self


class SpeechCorpus(RecordedTask[SpeechCorpusOptions]):
    """Which phone is it, frame by frame or in order, or what is written: recordings of a corpus of your own.

    timit
        Folders as TIMIT's, ``TRAIN/DR1/FCJF0/SA1.WAV`` with ``SA1.PHN``; NIST SPHERE or other audio. The classes are
        the phones, by default folded to 38 and silence.
    transcripts
        Recordings with a text each, trained by CTC to be spelled, a class a character.

    The front end is that of `SpokenWords`: log-mel frames of 10 ms, scaled to mean 0 and variance 1 over the training
    frames. Splits are named by folders (``train``, ``dev``, ``test`` ...) or a column ``split``; where they are not,
    whole speakers or recordings are held out. Prepared frames are kept in the user's cache folder.

    Shapes: inputs float32 ``[T, B, bands]``; targets int64 ``[T, B]`` or, for CTC, ``[U, B]``.
    """

    @property
    def by_frame(self) -> bool:
        return bool(self.options.layout == "timit" and self.options.labels != "sequence")

    @property
    def needs(self) -> tuple[Package, ...]:
        return (SOUNDFILE,)

    @property
    def speech(self) -> Speech:
        return _speech(self.options)


@lru_cache(maxsize=4)
def _speech(options: SpeechCorpusOptions) -> Speech:
    """The recordings; prepared once for all processes of this user."""
    if options.path is None:
        raise DataError("which corpus? speech-corpus needs task.path=FOLDER, and task.layout=timit or transcripts")
    folder = place(options.path)
    found = list(timit(folder, options.fold) if options.layout == "timit" else transcribed(folder, options.lower))
    local(options)
    splits = np.array(divided(found, options.held_out))
    names = _names(found, splits, options.characters)
    mark = f"speech-corpus-1-{options.layout}-{options.rate}-{options.bands}-{str(options.sha256)[:32]}"

    def rows() -> Iterator[dict[str, Any]]:
        for recording in found:
            frames = log_mel(read_audio(recording.path, options.rate), options.rate, options.bands)
            if not len(frames):
                raise DataError(f"{recording.path}: is shorter than a frame of 10 ms")
            yield {"file": str(recording.path), "frames": frames.ravel()}

    table = prepared(mark, {"file": "string", "frames": "[float32]"}, rows)
    values, starts = lists(table, "frames")
    return _classed(found, splits, names, Ragged(values.reshape(-1, options.bands), starts // options.bands), options)


def _names(found: list[Recording], splits: Array, characters: str) -> tuple[str, ...]:
    """The classes: those given, or those of the training recordings; the first is silence, or the blank."""
    given = set(characters.replace(" ", "_"))
    training = {word for r, split in zip(found, splits, strict=True) if split == "training" for word in r.words}
    names = (given or training) - set(SILENT)
    for recording in found:
        unknown = [word for word in recording.words if word not in names and word not in SILENT]
        if unknown:
            known = "in task.characters" if given else "among those of the training recordings"
            raise DataError(f"{recording.where}: the label {quoted(unknown[0])} is not {known}")
    return ("·", *sorted(names))


def _classed(
    found: list[Recording], splits: Array, names: tuple[str, ...], frames: Ragged, options: SpeechCorpusOptions
) -> Speech:
    """The recordings with classes, by split."""
    number = dict.fromkeys(SILENT, 0) | {name: k for k, name in enumerate(names) if k}
    parts: dict[str, tuple[list[Array], list[Array], list[Array]]] = {}
    for n, recording in enumerate(found):
        values = frames.values[frames.starts[n] : frames.starts[n + 1]]
        classes = np.array([number[word] for word in recording.words])
        phones = classes[classes > 0]
        if not len(phones):
            raise DataError(f"{recording.where}: nothing but silence")
        if len(phones) + np.sum(phones[1:] == phones[:-1]) > len(values):
            raise DataError(f"{recording.path}: is too short for its {len(phones)} labels: {len(values)} frames")
        part = parts.setdefault(str(splits[n]), ([], [], []))
        part[0].append(values)
        part[1].append(phones)
        if recording.begins:
            centres = (np.arange(len(values)) + 0.5) * HOP * options.rate
            heard = np.searchsorted(np.asarray(recording.begins), centres, side="right")
            part[2].append(np.concatenate([[0], classes])[heard])
    return Speech(
        names,
        {
            name: Utterances(Ragged.of(values), Ragged.of(phones), Ragged.of(labels) if labels else None)
            for name, (values, phones, labels) in parts.items()
        },
    )
