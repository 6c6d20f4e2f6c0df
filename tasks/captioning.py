"""Captioning: a picture, as a vector, to a sentence that says what is on it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from harness.task import Answer, Array, Baseline, Batch, DataError, MappingKind, Metric, Nothing, Signature, Task
from harness.task import Options as TaskOptions
from tasks import _captionfiles as recorded
from tasks import _scenes as scenes
from tasks._album import Album
from tasks._classes import certain
from tasks._packages import package
from tasks._pairs import ENDING, UNKNOWN, Coded, symbols_of
from tasks._recorded import held_out
from tasks._scores import BLEU, CHRF, CROSS_ENTROPY, END, TOKEN_ACCURACY, answer_of, taught, text_scores, written
from tasks._textfiles import digest
from tasks._vocabulary import vocabulary

SPLIT_SEED = 0
"""Of the scenes and of what is held out: the same on every machine, whatever the run's seed."""

HELD_OUT = 2000
"""Scenes for validation and test together."""

LEAST = 1e-9
"""The probability that the oracle leaves to a symbol that no reference has at that step."""

EXACT = Metric("exact_match", "max", "share", "free captions that are one of the references", best=1.0)
CORRECT = (
    Metric("objects_right", "max", "share", "captions with the scene's shapes, as many of each", best=1.0),
    Metric("colours_right", "max", "share", "captions with the scene's shapes in their colours", best=1.0),
    Metric("relations_right", "max", "share", "captions whose relation holds in the scene", best=1.0),
)


class CaptioningOptions(TaskOptions):
    """Options of `Captioning`."""

    source: Literal["scenes", "file"] = Field(
        "scenes", description="scenes: rendered here; file: captions in JSON (COCO, Flickr8k) and computed features"
    )
    encoder: Literal["projection", "pixels"] = Field(
        "projection", description="scenes: what the model sees: a fixed random projection of the pixels, or these"
    )
    size: int = Field(256, ge=1, description="projection: numbers that the model sees")
    training_scenes: int = Field(12_000, ge=100, le=100_000, description="scenes: different ones to train on")
    held_out: Literal["scenes", "combinations"] = Field(
        "scenes", description="scenes: others than in training; combinations: those with a colour of a shape never seen"
    )
    captions: Literal["any", "first"] = Field(
        "any", description="what is trained on: any of a picture's captions, a new draw each time, or the first"
    )
    path: str | None = Field(None, description="file: the JSON file of the captions")
    features: str | None = Field(None, description="file: .npz with the arrays names [N] and features [N, C]")
    vocabulary: int = Field(2000, ge=10, description="file: the most words; rarer ones become one symbol")
    share: float = Field(0.2, gt=0, lt=1, description="file without splits: share held out, half of it for the test")
    solved_match: float = Field(
        0.9, gt=0, le=1, description="solved when so large a share of the validation captions is a reference"
    )
    sha256: str | None = Field(None, description="of the files; filled in, and checked where it is given")

    @model_validator(mode="before")
    @classmethod
    def _files(cls, given: Any) -> Any:
        """Put the files' contents into the run's identity."""
        if isinstance(given, dict) and given.get("sha256") is None and given.get("path") and given.get("features"):
            return {**given, "sha256": digest([str(given["path"]), str(given["features"])])}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        named = [name for name in ("path", "features") if getattr(self, name) is not None]
        if self.source == "file" and len(named) < 2:
            raise ValueError("the source 'file' needs path (captions, JSON) and features (.npz)")
        if self.source == "scenes" and named:
            raise ValueError(f"{named[0]}: goes with the source 'file'")
        return self


class Captioning(Task):
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

    Options = CaptioningOptions
    exact = False

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        package("sacrebleu", "text")  # missed now rather than at the first evaluation
        drawn = CORRECT if self.options.source == "scenes" else ()
        self.metrics = (CROSS_ENTROPY, TOKEN_ACCURACY, EXACT, BLEU, CHRF, *drawn)

    @property
    def album(self) -> Album:
        return _drawn(self.options)[0] if self.options.source == "scenes" else _loaded(self.options)

    @property
    def scenes(self) -> scenes.Scenes:
        """The scenes of the album, by row."""
        return _drawn(self.options)[1]

    @property
    def signature(self) -> Signature:
        album = self.album
        longest = album.captions.values.shape[1]
        return Signature(
            Nothing(),
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
            _shares(self.options)[1],
            "every word as often as in the training captions",
            "-sum_s p(s) ln p(s), p the shares of the words of the training captions, ends included",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.tile(_shares(self.options)[0], (*batch.targets.shape, 1)).astype(np.float64)

    def oracle(self, batch: Batch) -> Array:
        """At every step the shares of the symbols that the picture's captions have there."""
        album, steps = self.album, len(batch.targets)
        shares = np.full((steps, batch.size, len(album.captions.symbols)), LEAST)
        for b, rows in enumerate(album.pictures(batch)):
            every = album.captions_of(rows[0])
            for n in every[:1] if self.options.captions == "first" else every:
                length = min(int(album.captions.lengths[n]), steps)
                shares[np.arange(length), b, album.captions.values[n, :length]] += 1
        return np.log(shares)

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
        if self.options.source == "scenes":
            rows = [rows[0] for rows in self.album.pictures(batch)]
            holds = self.scenes.some(np.array(rows)).relations()
            verdicts = [
                scenes.judged(text, self.scenes.claims(row), relations)
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
        if self.options.source != "scenes":
            return False
        row = self.album.pictures(batch)[index][0]
        side = scenes.GRID * scenes.CELL
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
        shown = scenes.sketch(self.scenes, row) if self.options.source == "scenes" else []
        return "\n".join([*shown, *(line for text in texts for line in textwrap.wrap(text, 100) or [""])])


@cache
def _shares(options: CaptioningOptions) -> tuple[Array, float]:
    album = _drawn(options)[0] if options.source == "scenes" else _loaded(options)
    return album.unigrams(options.captions == "first")


@cache
def _drawn(options: CaptioningOptions) -> tuple[Album, scenes.Scenes]:
    """Different scenes and their captions."""
    rng = np.random.default_rng(SPLIT_SEED)
    combinations = options.held_out == "combinations"
    pool = scenes.draw(rng, 4 * (options.training_scenes + HELD_OUT))
    _, different = np.unique(np.packbits(pool.render(), 1), axis=0, return_index=True)
    different = np.sort(different)
    unseen = np.isin(pool.kinds[different], scenes.HELD_KINDS).any(1) & combinations
    training, rest = different[~unseen], different[unseen]
    training, other = training[: options.training_scenes], training[options.training_scenes :]
    held = (rest if combinations else other)[:HELD_OUT]
    if len(training) < options.training_scenes or len(held) < HELD_OUT:
        raise DataError(f"training_scenes: there are fewer different scenes than {options.training_scenes}; take less")
    chosen = pool.some(np.concatenate([training, held]))
    pictures, relations = chosen.render(), chosen.relations()
    if options.encoder == "pixels":
        features = pictures.astype(np.float32)
    else:
        matrix = rng.normal(size=(scenes.PIXELS, options.size)) / np.sqrt(8 * scenes.CELL)
        features = (pictures.astype(np.float32) @ matrix.astype(np.float32)).astype(np.float32)
    texts = [scenes.captions(chosen.claims(n), relations[n]) for n in range(len(pictures))]
    split = len(training) + HELD_OUT // 2
    rows = np.arange(len(pictures))
    parts = {"training": rows[: len(training)], "validation": rows[len(training) : split], "test": rows[split:]}
    cut = [text.split() for each in texts for text in each]
    return _album(features, texts, cut, symbols_of(cut, ENDING), parts), chosen


@cache
def _loaded(options: CaptioningOptions) -> Album:
    """The captions and features of files."""
    if digest([options.path, options.features]) != options.sha256:
        raise DataError(f"{options.path} or {options.features} has changed; leave sha256 out to take them as they are")
    found, vectors = recorded.captioned(options.path), recorded.features(options.features)
    missing = next((name for name in found if name not in vectors), None)
    if missing is not None:
        raise DataError(f"{options.features}: there are no features of the picture {missing!r} in {options.path}")
    names = np.array(list(found))
    splits = [split for _, split in found.values()]
    if any(split is not None for split in splits):
        rows = {
            name: np.flatnonzero([split == name for split in splits]) for name in ("training", "validation", "test")
        }
    else:
        rows = held_out(len(names), options.share)
    empty = next((name for name, each in rows.items() if not len(each)), None)
    if empty is not None:
        raise DataError(f"{options.path}: no picture is left for {empty}")
    texts = [captions for captions, _ in found.values()]
    learnt = [text for n in rows["training"] for text in texts[n]]
    symbols, cut, _ = vocabulary(learnt, "words", options.vocabulary, (ENDING, UNKNOWN))
    features = np.stack([vectors[name] for name in found])
    return _album(features, texts, [cut(text) for each in texts for text in each], symbols, rows)


def _album(
    features: Array, texts: list[list[str]], cut: list[list[str]], symbols: list[str], rows: Mapping[str, Array]
) -> Album:
    many = np.array([len(each) for each in texts])
    coded = Coded.of(cut, symbols, end=True)
    return Album(features, coded, many.cumsum() - many, many, [text for each in texts for text in each], rows)
