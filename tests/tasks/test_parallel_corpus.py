"""Parallel corpora: every layout, vocabularies, splits by source, and what is said of bad files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Answer, DataError, Task

PAIRS = [(f"the number {n} and {n * n}", f"le nombre {n} et {n * n}") for n in range(40)]


def task_of(**options: object) -> Task:
    return TaskSpec(name="parallel-corpus", **{"unit": "words", **options}).build()


def all_pairs(task: Task) -> set[tuple[str, str]]:
    corpus = task.corpus
    rows = np.concatenate([*corpus.rows.values()])
    batch = corpus.batch(np.unique(rows))
    return {(task.source_text(batch, b), corpus.translations(batch, b)[0]) for b in range(batch.size)}


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), encoding="utf-8")
    return path


@pytest.fixture(params=["tsv", "gz", "named", "jsonl", "nested", "text", "bom"])
def options(request: pytest.FixtureRequest, tmp_path: Path, tsv: Path) -> dict[str, Any]:
    """The same pairs in every layout."""
    match request.param:
        case "tsv":
            return {"tsv": str(tsv)}
        case "gz":
            path = tmp_path / "pairs.tsv.gz"
            path.write_bytes(gzip.compress(tsv.read_bytes()))
            return {"tsv": str(path)}
        case "bom":
            path = tmp_path / "windows.tsv"
            path.write_bytes(b"\xef\xbb\xbf" + tsv.read_bytes().replace(b"\n", b"\r\n"))
            return {"tsv": str(path)}
        case "named":
            path = tmp_path / "named.tsv"
            lines = ["fr\tnote\ten", *(f"{target}\t-\t{source}" for source, target in PAIRS)]
            path.write_text("\n".join(lines), encoding="utf-8")
            return {"tsv": str(path), "source": "en", "target": "fr"}
        case "text":
            for side, name in enumerate(("en", "fr")):
                (tmp_path / name).write_text("\n".join(pair[side] for pair in PAIRS), encoding="utf-8")
            return {"text": str(tmp_path / "en"), "text_target": str(tmp_path / "fr")}
    nested = request.param == "nested"
    path = tmp_path / "pairs.jsonl"
    records = [{"source": s, "target": t} for s, t in PAIRS]
    keys = {"source": "pair.source", "target": "pair.target"} if nested else {}
    path.write_text("\n".join(json.dumps({"pair": r} if nested else r) for r in records), encoding="utf-8")
    return {"jsonl": str(path), **keys}


def test_every_layout_gives_the_same_pairs(options: dict[str, Any]) -> None:
    assert all_pairs(task_of(**options, unit="characters")) == set(PAIRS)


def test_a_data_set_of_datasets(tmp_path: Path) -> None:
    """As a hub id would be; here a folder with a parquet file."""
    Dataset.from_list([{"translation": {"en": s, "fr": t}} for s, t in PAIRS]).to_parquet(str(tmp_path / "x.parquet"))
    task = task_of(hub=str(tmp_path), source="translation.en", target="translation.fr", unit="characters")
    assert all_pairs(task) == set(PAIRS)


@pytest.mark.parametrize("unit", ["subwords", "words", "characters"])
def test_coding_loses_nothing_that_training_has(unit: str) -> None:
    task = task_of(unit=unit)
    batch = task.sample(np.random.default_rng(0), 200)
    corpus = task.corpus
    lengths = batch.target_lengths
    assert lengths is not None
    for b in range(200):
        said = task.target_text(batch.targets[: lengths[b] - 1, b].tolist())
        assert [said] == corpus.translations(batch, b)
    assert len(corpus.target.symbols) <= 500


def test_subwords_shorten_what_characters_spell() -> None:
    lengths = {unit: task_of(unit=unit).corpus.source.lengths.mean() for unit in ("subwords", "characters")}
    assert lengths["subwords"] < lengths["characters"] / 2


def test_pairs_with_the_same_source_are_in_one_split(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"one {n % 50}\ttwo {n}\n" for n in range(200)), encoding="utf-8")
    task = task_of(tsv=str(path), share=0.5, unit="characters")
    corpus = task.corpus
    read = []
    for rows in corpus.rows.values():
        batch = corpus.batch(rows)
        read.append({task.source_text(batch, b) for b in range(batch.size)})
    assert sum(map(len, read)) == 50 == len(set().union(*read))
    batch = task.split("test", np.random.default_rng(0), 5)
    other = corpus.batch(np.array([corpus.rows_of(batch, b)[-1] for b in range(5)]))
    lengths = other.target_lengths
    assert lengths is not None
    assert task.judge(Answer(other.targets, lengths - 1), batch)["sequence_accuracy"] == 1  # any translation counts


def test_an_unknown_word_is_never_right(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"w{n}\tv{n}\n" for n in range(40)), encoding="utf-8")
    task = task_of(tsv=str(path))
    batch = task.split("test", np.random.default_rng(0), 2)
    assert (batch.targets[0] == 1).all()
    answer = Answer(batch.targets, np.array([1, 1]))
    assert task.judge(answer, batch)["sequence_accuracy"] == 0


def test_the_files_contents_are_part_of_the_identity(tsv: Path) -> None:
    spec = TaskSpec(name="parallel-corpus", tsv=str(tsv))
    assert len(spec.options["sha256"]) == 64
    tsv.write_text(tsv.read_text(encoding="utf-8") + "new\tnouveau\n", encoding="utf-8")
    assert TaskSpec(name="parallel-corpus", tsv=str(tsv)) != spec
    with pytest.raises(DataError, match=r"pairs\.tsv: has another sha256 than"):
        _ = spec.build().signature
    tsv.unlink()
    assert TaskSpec(name="parallel-corpus", **spec.options) == spec  # an old result can still be read


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (b"a\tb\nc\n", "tsv", r"pairs, line 2: there is no column 2 \(counted from 1\); it has 1"),
        (b"a\tb\nc\t \n", "tsv", "pairs, line 2: column '2' is empty"),
        (b"a\tb\nc\t\xff\xfe\n", "tsv", r"pairs, line 2: is not UTF-8 \(byte 0xff at 2\)"),
        (b"a\tb\n", "tsv", "pairs: has 1 pairs; it takes at least 10 different sources"),
        (b"", "tsv", "pairs: has 0 pairs"),
        (b'{"source": "a"}\n', "jsonl", "pairs, line 1: there is no 'target'; it has 'source'"),
        (b'{"source": 1, "target": "b"}\n', "jsonl", "pairs, line 1: 'source' is int, not text"),
        (b'{"source": "", "target": "b"}\n', "jsonl", "pairs, line 1: source is empty"),
        (b'{"source": "a", \n', "jsonl", r"pairs, line 1: is not JSON \(.* at column \d+\)"),
        (b"[1]\n", "jsonl", "pairs, line 1: there is no 'source'; it is no object"),
    ],
)
def test_bad_files_give_one_sentence_with_file_and_line(
    tmp_path: Path, content: bytes, kind: str, sentence: str
) -> None:
    path = tmp_path / "pairs"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        _ = task_of(**{kind: str(path)}).signature
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("en\tde\nc\td\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs\.tsv, line 1: there is no column 'fr'; it has 'en', 'de'"):
        _ = task_of(tsv=str(path), source="en", target="fr").signature


def test_what_datasets_cannot_load(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="datasets cannot load"):
        _ = task_of(hub=str(tmp_path / "nothing")).signature


def test_damaged_archives_and_uneven_files(tmp_path: Path, tsv: Path) -> None:
    path = tmp_path / "pairs.tsv.gz"
    whole = gzip.compress(tsv.read_bytes())
    for damaged in (whole[:-20], b"no archive", whole[:60] + b"\0" * 20 + whole[80:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"pairs.tsv.gz: the archive is truncated or damaged after line \d+"):
            _ = task_of(tsv=str(path)).signature
    (tmp_path / "one").write_text("a\nb\nc\n", encoding="utf-8")
    (tmp_path / "two").write_text("a\nb\n", encoding="utf-8")
    for one, two in (("one", "two"), ("two", "one")):
        with pytest.raises(DataError, match="two: has 2 lines, fewer than the other file"):
            _ = task_of(text=str(tmp_path / one), text_target=str(tmp_path / two)).signature


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tsv": "x.tsv", "jsonl": "x.jsonl"}, "tsv and jsonl: a corpus comes from one of them"),
        ({"tsv": "/no/such/file.tsv"}, "/no/such/file.tsv: there is no such file"),
        ({"tsv": "/tmp"}, "/tmp: it is a folder, not a file"),
        ({"text": "x"}, "text and text_target go together"),
        ({"tsv": "/no/x.tsv", "text_target": "y"}, "text and text_target go together"),
    ],
)
def test_bad_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'parallel-corpus': .*{sentence}"):
        task_of(**options)


def test_vocabularies_that_cannot_be(tsv: Path) -> None:
    with pytest.raises(DataError, match=r"vocabulary: the texts have 2. characters alone; take more than 12 subwords"):
        _ = task_of(tsv=str(tsv), unit="subwords", vocabulary=12).signature
    with pytest.raises(DataError, match=r"pairs\.tsv: no pair of at most 2 symbols is left for training"):
        _ = task_of(tsv=str(tsv), longest=2).signature
