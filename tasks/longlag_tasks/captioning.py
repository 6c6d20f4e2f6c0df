"""Captioning: a picture, as a vector, to a sentence that says what is on it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Answer, Array, Baseline, Batch, MappingKind, Metric, NoInput, Options, Signature, Task
from longlag_tasks import _albums, _scenes
from longlag_tasks._album import Album
from longlag_tasks._classes import certain
from longlag_tasks._scores import (
    BLEU,
    CHRF,
    CROSS_ENTROPY,
    END,
    TOKEN_ACCURACY,
    answer_of,
    taught,
    text_scores,
    written,
)
from longlag_tasks._textfiles import digest, named

LEAST = 1e-9
"""The probability that the oracle leaves to a symbol that no reference has at that step."""

EXACT = Metric("exact_match", "max", "share", "free captions that are one of the references", best=1.0)
CORRECT = (
    Metric("objects_right", "max", "share", "captions with the scene's shapes, as many of each", best=1.0),
    Metric("colours_right", "max", "share", "captions with the scene's shapes in their colours", best=1.0),
    Metric("relations_right", "max", "share", "captions whose relation holds in the scene", best=1.0),
)


class CaptioningOptions(Options):
    """Options of `Captioning`."""

    encoder: Literal["projection", "pixels"] = Field(
        "projection", description="what the model sees of a scene: a fixed random projection of the pixels, or these"
    )
    size: int = Field(256, ge=1, le=10**5, description="projection: numbers that the model sees")
    training_scenes: int = Field(12_000, ge=100, le=100_000, description="different scenes to train on")
    held_out: Literal["scenes", "combinations"] = Field(
        "scenes", description="scenes: others than in training; combinations: those with a colour of a shape never seen"
    )
    captions: Literal["any", "first"] = Field(
        "any", description="what is trained on: any of a picture's captions, a new draw each time, or the first"
    )
    path: str | None = Field(None, description="captions in JSON as COCO or Flickr8k have them, in place of scenes")
    features: str | None = Field(None, description="for path: .npz with the arrays names [N] and features [N, C]")
    vocabulary: int = Field(2000, ge=10, description="for path: the most words; rarer ones become one symbol")
    share: float = Field(
        0.2, gt=0, lt=1, description="for a path without splits: share held out, half of it for the test"
    )
    solved_match: float = Field(
        0.9, gt=0, le=1, description="solved when so large a share of the validation captions is a reference"
    )
    sha256: str | None = Field(None, description="of the files; filled in, and checked where it is given")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(named(path) for path in (self.path, self.features) if path is not None)

    @model_validator(mode="before")
    @classmethod
    def _files(cls, given: Any) -> Any:
        """Put the files' contents into the run's identity."""
        if isinstance(given, dict) and given.get("sha256") is None and given.get("path") and given.get("features"):
            return {**given, "sha256": digest([str(given["path"]), str(given["features"])])}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.path is None) != (self.features is None):
            raise ValueError("path and features go together: the captions (JSON), and the pictures' features (.npz)")
        return self


class Captioning(Task[CaptioningOptions]):
    """A vector of a picture to a caption, of which several are right.

    A scene has one or two groups of objects on a grid of 4 × 4 cells: 1 ... 3 alike, of one of 4 colours and 4 shapes;
    two groups differ and stand on either side of a line. Captions: ``two red squares``, ``there are two red squares``;
    ``a blue ring above two red squares`` and every other relation that holds, from either side. The picture, 20 × 20
    pixels of 3 channels, is seen as it is or through a fixed random projection: nothing of the encoder is trained.

    Splits are disjoint in their pictures. A picture's first caption is the target of evaluation; ``exact_match`` and
    BLEU know all of them.

    Shapes: context float32 ``[B, C]``, no input sequence, targets int64 ``[U, B]``, the last symbol the end. The loss
    is the cross-entropy in nats a word; with ``captions`` any it does not fall to zero, for the picture does not say
    which caption was drawn.
    """

    mapping = MappingKind.GENERATION
    exact = False

    def __init__(self, options: CaptioningOptions | None = None) -> None:
        super().__init__(options)
        drawn = CORRECT if self.options.path is None else ()
        self.metrics = (CROSS_ENTROPY, TOKEN_ACCURACY, EXACT, BLEU, CHRF, *drawn)

    @property
    def album(self) -> Album:
        """The pictures and their captions; prepared at the first use."""
        given = self.options
        if given.path is None:
            return self._drawn()[0]
        return _albums.loaded(given.path, given.features, given.sha256, given.vocabulary, given.share)

    @property
    def scenes(self) -> _scenes.Scenes:
        """The scenes of the album, by row."""
        return self._drawn()[1]

    def _drawn(self) -> tuple[Album, _scenes.Scenes]:
        given = self.options
        size = given.size if given.encoder == "projection" else None
        return _albums.drawn(size, given.training_scenes, given.held_out == "combinations")

    def _frequencies(self) -> tuple[Array, float]:
        return self.album.unigrams(self.options.captions == "first")

    @property
    def signature(self) -> Signature:
        album = self.album
        longest = album.captions.values.shape[1]
        return Signature(
            NoInput(),
            len(album.captions.symbols),
            MappingKind.GENERATION,
            "cross-entropy",
            context=album.features.shape[1],
            end=END,
            max_steps=longest,
        )

    @property
    def criterion(self) -> str:
        return f"exact_match of at least {self.options.solved_match:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics[EXACT.name] >= self.options.solved_match)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        album = self.album
        training = album.rows["training"]
        pictures = training[rng.integers(0, len(training), size)]
        which = rng.integers(0, album.many[pictures]) if self.options.captions == "any" else 0
        return album.batch(pictures, album.first[pictures] + which)

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        """The first `size` pictures of the split, which stand in random order, each with its first caption."""
        pictures = self.album.rows[name][:size]
        return self.album.batch(pictures, self.album.first[pictures])

    def baseline(self) -> Baseline:
        return Baseline(
            self._frequencies()[1],
            "every word as often as in the training captions",
            "-sum_s p(s) ln p(s), p the shares of the words of the training captions, ends included",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.tile(self._frequencies()[0], (*batch.targets.shape, 1)).astype(np.float64)

    def oracle(self, batch: Batch) -> Array:
        """At every step the shares of the symbols that the picture's captions have there."""
        album, steps = self.album, len(batch.targets)
        shares = np.full((steps, batch.size, len(album.captions.symbols)), LEAST)
        for b, rows in enumerate(album.pictures(batch)):
            every = album.captions_of(rows[0])
            for n in every[:1] if self.options.captions == "first" else every:
                length = min(int(album.captions.lengths[n]), steps)
                shares[np.arange(length), b, album.captions.values[n, :length]] += 1
        logs: Array = np.log(shares)
        return logs

    def oracle_answer(self, batch: Batch) -> Answer:
        """The first caption of every picture."""
        first = self.album.first[[rows[0] for rows in self.album.pictures(batch)]]
        return answer_of(certain(self.album.captions.some(first)[0], len(self.album.captions.symbols)))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return taught(outputs, batch)

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        given, references = self._texts(answer.sequences()), self.album.references(batch)
        right = [text in texts for text, texts in zip(given, references, strict=True)]
        scores = {EXACT.name: float(np.mean(right)), **text_scores(given, references, "none")}
        if self.options.path is None:
            rows = [rows[0] for rows in self.album.pictures(batch)]
            holds = self.scenes.some(np.array(rows)).relations()
            verdicts = [
                _scenes.judged(text, self.scenes.claims(row), relations)
                for text, row, relations in zip(given, rows, holds, strict=True)
            ]
            means = np.mean(verdicts, 0)
            scores |= {metric.name: float(mean) for metric, mean in zip(CORRECT, means, strict=True)}
        return scores

    def _texts(self, sequences: list[list[int]]) -> list[str]:
        symbols = self.album.captions.symbols
        return [" ".join(symbols[n] for n in sequence) for sequence in sequences]

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        """The references and what the model answered."""
        references = self.album.references(batch)
        columns: dict[str, list[Any]] = {"references": [" | ".join(texts) for texts in references]}
        if answer is not None:
            columns["answer"] = self._texts(answer.sequences())
            columns["right"] = [said in texts for said, texts in zip(columns["answer"], references, strict=True)]
        return columns

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        """The scene with the model's caption above it and the first reference below."""
        if self.options.path is not None:
            return False
        row = self.album.pictures(batch)[index][0]
        side = _scenes.GRID * _scenes.CELL
        axes.imshow(255 * self.scenes.some(np.array([row])).render().reshape(side, side, 3))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(self.album.references(batch)[index][0])
        if answer is not None:
            axes.set_title(self._texts(answer.sequences())[index])
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """The scene in letters (``rs`` a red square), and its captions, the one of the batch first."""
        row = self.album.pictures(batch)[index][0]
        mine = self._texts(written(batch))[index]
        texts = list(dict.fromkeys([mine, *self.album.references(batch)[index]]))
        shown = _scenes.sketch(self.scenes, row) if self.options.path is None else []
        return "\n".join([*shown, *(line for text in texts for line in textwrap.wrap(text, 100) or [""])])
