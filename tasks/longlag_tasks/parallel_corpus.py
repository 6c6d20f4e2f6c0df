"""Translation learnt from any parallel corpus: files at hand, or a data set of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from longlag.task import Answer, Batch, DataError, Package, quoted, shortened
from longlag_tasks import _textfiles as files
from longlag_tasks._accuracy import AccuracyOptions
from longlag_tasks._options import year_as_text
from longlag_tasks._packages import TOKENIZERS
from longlag_tasks._pairs import ENDING, UNKNOWN, Coded, Corpus, PairTask
from longlag_tasks._recorded import held_out
from longlag_tasks._scores import SEQUENCE_ACCURACY, text_scores
from longlag_tasks._vocabulary import Units, vocabulary
from longlag_tasks.translation import Translation

Pair = tuple[str, str]
SAMPLE = 5000
"""Sentences of the task `translation` that stand in where no file is named."""

LEAST = 10
"""Different sources that a corpus needs."""

FILES = ("tsv", "jsonl", "text", "text_target")
"""The options that name files."""


class ParallelCorpusOptions(AccuracyOptions):
    """Options of `ParallelCorpus`."""

    tsv: str | None = Field(None, description="a file of pairs, one a line, columns apart by tabs (.gz is unpacked)")
    jsonl: str | None = Field(None, description="a file of pairs, a JSON object a line (.gz is unpacked)")
    text: str | None = Field(None, description="a file of sources, a sentence a line (.gz is unpacked)")
    text_target: str | None = Field(None, description="the file of their translations, for text")
    hub: str | None = Field(None, description="what datasets.load_dataset can load: an id of the hub, or a folder")
    source: str | None = Field(
        None,
        description="tsv: column by number, from 1, or by its name in the first line; jsonl, hub: key, a.b for b in a",
    )
    target: str | None = Field(None, description="the same for the translations")
    subset: str | None = Field(None, description="hub: configuration of the data set")
    part: str = Field("train", description="hub: split of the data set that all pairs are taken from")
    revision: str | None = Field(None, description="hub: commit, so that the data stay the same")
    unit: Units = Field("subwords", description="symbols: subwords (byte-pair encoding), words, characters")
    vocabulary: int = Field(500, ge=10, le=50_000, description="the most symbols, for each language")
    longest: int = Field(100, ge=1, description="symbols; pairs with more on either side are left out everywhere")
    share: float = Field(
        0.1, gt=0, lt=1, description="share of the sources held out, half for validation, half for the test"
    )
    solved_accuracy: float = Field(
        0.9, gt=0, le=1, description="solved when so large a share of the validation sentences is right throughout"
    )
    sha256: str | None = Field(None, description="of the files; filled in, and checked where it is given")

    @field_validator("source", "target", mode="before")
    @classmethod
    def _column(cls, value: Any) -> Any:
        return year_as_text(value)

    @model_validator(mode="before")
    @classmethod
    def _files(cls, given: Any) -> Any:
        """Check which options belong together, and put the files' contents into the run's identity."""
        if not isinstance(given, dict):
            return given
        named = [kind for kind in READERS if given.get(kind) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: a corpus comes from one of them")
        if (given.get("text") is None) != (given.get("text_target") is None):
            raise ValueError("text and text_target go together: the sources, and their translations line by line")
        paths = [str(given[kind]) for kind in FILES if given.get(kind) is not None]
        if not paths or given.get("sha256") is not None:
            return given
        return {**given, "sha256": files.digest(paths)}

    @property
    def reads(self) -> tuple[str, ...]:
        paths = [getattr(self, kind) for kind in FILES]
        found = [files.named(path) for path in paths if path is not None]
        if self.hub is not None:
            here = files.place(self.hub).is_dir()
            found.append(files.named(self.hub) if here else f"the data set {self.hub} of the Hugging Face hub")
        return tuple(found)

    @property
    def kind(self) -> str | None:
        """Which of `READERS` reads the corpus; None where the sample stands in."""
        return next((kind for kind in READERS if getattr(self, kind) is not None), None)

    @property
    def where(self) -> str:
        """The corpus, for a person."""
        return "the sample" if self.kind is None else str(getattr(self, self.kind))


class ParallelCorpus(PairTask[ParallelCorpusOptions]):
    """Any pairs of texts, each a source and its translation.

    The symbols of each language are learnt from its training texts. Sources are held out at random, the same ones on
    every machine: pairs with the same source are for the same split. Answers are compared as text with all
    translations that the corpus has for the source.

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[U, B]``, the last symbol the end. The loss is the cross-entropy
    in nats a symbol.
    """

    tokenize = "13a"

    @property
    def needs(self) -> tuple[Package, ...]:
        return (TOKENIZERS,) if self.options.unit == "subwords" else ()

    @property
    def corpus(self) -> Corpus:
        return prepared(self.options)

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        given = [self.target_text(sequence) for sequence in answer.sequences()]
        wanted = [self.corpus.translations(batch, b) for b in range(batch.size)]
        equal = [text in texts for text, texts in zip(given, wanted, strict=True)]
        return {SEQUENCE_ACCURACY.name: float(np.mean(equal)), **text_scores(given, wanted, self.tokenize)}


def pairs_of(options: ParallelCorpusOptions) -> list[Pair]:
    """The pairs, white space inside of texts reduced to single spaces.

    Raises:
        DataError: naming the file and the line that is wrong.
    """
    if options.kind is None:
        task = Translation()
        batch = task.sample(np.random.default_rng(0), SAMPLE)
        target = batch.target_lengths
        assert target is not None
        return [
            (task.source_text(batch, b), task.target_text(batch.targets[: target[b] - 1, b].tolist()))
            for b in range(SAMPLE)
        ]
    paths = [path for path in (getattr(options, kind) for kind in FILES) if path is not None]
    if paths and files.digest(paths) != options.sha256:
        raise DataError(f"{options.where}: has another sha256 than {options.sha256}: leave it out to take it as it is")
    pairs = [(" ".join(one.split()), " ".join(other.split())) for one, other in READERS[options.kind](options)]
    if len({source for source, _ in pairs}) < LEAST:
        raise DataError(f"{options.where}: has {len(pairs)} pairs; it takes at least {LEAST} different sources")
    return pairs


def _tsv(options: ParallelCorpusOptions) -> Iterator[Pair]:
    assert options.tsv is not None
    wanted = [options.source or "1", options.target or "2"]
    places = [int(name) - 1 for name in wanted if name.isdecimal()]
    for number, line in files.lines(options.tsv):
        cells, where = line.split("\t"), f"{options.tsv}, line {number}"
        if number == 1 and len(places) < 2:
            missing = [name for name in wanted if not name.isdecimal() and name not in cells]
            if missing:
                raise DataError(
                    f"{where}: there is no column {quoted(missing[0])}; it has {', '.join(map(repr, cells))}"
                )
            places = [int(name) - 1 if name.isdecimal() else cells.index(name) for name in wanted]
            continue
        absent = next((place for place in places if not 0 <= place < len(cells)), None)
        if absent is not None:
            raise DataError(f"{where}: there is no column {absent + 1} (counted from 1); it has {len(cells)}")
        source, target = (
            files.text(cells[p], f"column {quoted(n)}", where) for p, n in zip(places, wanted, strict=True)
        )
        yield source, target


def _jsonl(options: ParallelCorpusOptions) -> Iterator[Pair]:
    assert options.jsonl is not None
    for number, record in files.records(options.jsonl):
        yield _fields(record, options, f"{options.jsonl}, line {number}")


def _text(options: ParallelCorpusOptions) -> Iterator[Pair]:
    assert options.text is not None and options.text_target is not None
    for one, other in zip_longest(files.lines(options.text), files.lines(options.text_target)):
        if one is None or other is None:
            short, count = (options.text, other[0] - 1) if one is None else (options.text_target, one[0] - 1)
            raise DataError(f"{short}: has {count} lines, fewer than the other file: lines must go together")
        yield (
            files.text(one[1], "the sentence", f"{options.text}, line {one[0]}"),
            files.text(other[1], "the sentence", f"{options.text_target}, line {other[0]}"),
        )


def _hub(options: ParallelCorpusOptions) -> Iterator[Pair]:
    import datasets

    try:
        rows = datasets.load_dataset(options.hub, options.subset, split=options.part, revision=options.revision)
    except Exception as error:  # whatever datasets and what it calls may raise
        raise DataError(f"datasets cannot load {quoted(options.hub)}: {shortened(error)}") from error
    for number, record in enumerate(rows, start=1):
        yield _fields(record, options, f"{options.hub}, row {number}")


def _fields(record: Any, options: ParallelCorpusOptions, where: str) -> Pair:
    return (
        files.field(record, options.source or "source", where),
        files.field(record, options.target or "target", where),
    )


READERS: dict[str, Callable[[ParallelCorpusOptions], Iterator[Pair]]] = {
    "tsv": _tsv,
    "jsonl": _jsonl,
    "text": _text,
    "hub": _hub,
}
"""By the option that names the corpus."""


@cache
def prepared(options: ParallelCorpusOptions) -> Corpus:
    """The pairs, coded with vocabularies learnt from those for training."""
    pairs = list(dict.fromkeys(pairs_of(options)))
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    number = {source: n for n, source in enumerate(dict.fromkeys(sources))}
    split = np.empty(len(number), dtype="<U10")
    for name, rows in held_out(len(number), options.share).items():
        split[rows] = name
    names = split[[number[source] for source in sources]]
    training = np.flatnonzero(names == "training")
    coded: list[Coded] = []
    joins = []
    for texts, first in ((sources, (UNKNOWN,)), (targets, (ENDING, UNKNOWN))):
        symbols, cut, join = vocabulary([texts[n] for n in training], options.unit, options.vocabulary, first)
        coded.append(Coded.of([cut(text) for text in texts], symbols, end=len(first) == 2))
        joins.append(join)
    fits = (coded[0].lengths <= options.longest) & (coded[1].lengths <= options.longest + 1)
    # a draw of its own: the rows stand in the order of the file
    order = np.random.default_rng(0).permutation(len(pairs))
    rows_of = {name: order[fits[order] & (names[order] == name)] for name in ("training", "validation", "test")}
    for name, rows in rows_of.items():
        if not len(rows):
            raise DataError(f"{options.where}: no pair of at most {options.longest} symbols is left for {name}")
    return Corpus(_trimmed(coded[0], fits), _trimmed(coded[1], fits), rows_of, joins[0], joins[1], pairs)


def _trimmed(coded: Coded, fits: Sequence[bool] | Any) -> Coded:
    """Without the columns that only sequences have which are left out."""
    return Coded(coded.values[:, : int(coded.lengths[fits].max())], coded.lengths, coded.symbols)
