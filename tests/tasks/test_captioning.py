"""Captioning: scenes and their captions against the pictures, correctness read off the scene, caption files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Answer, Array, DataError, Task
from longlag_tasks import _scenes as scenes

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed
SIDE = scenes.GRID * scenes.CELL


def captioning(**options: object) -> Task:
    return TaskSpec(name="captioning", **{"training_scenes": 1000, **options}).build()


def answer_of(task: Task, texts: list[str]) -> Answer:
    symbols = list(task.album.captions.symbols)
    coded = [[symbols.index(word) for word in text.split()] for text in texts]
    values = np.zeros((12, len(coded)), dtype=np.int64)
    for b, each in enumerate(coded):
        values[: len(each), b] = each
    return Answer(values, np.array([len(each) for each in coded]))


def seen(picture: Array) -> list[tuple[str, str, int, int]]:
    """What stands where in a picture: colour, shape, column, row; by comparing every cell with every drawing."""
    found = []
    image = picture.reshape(SIDE, SIDE, 3)
    for row in range(scenes.GRID):
        for column in range(scenes.GRID):
            y, x = row * scenes.CELL, column * scenes.CELL
            cell = image[y : y + 4, x : x + 4]
            for colour, channels in scenes.COLOURS.items():
                for shape, lines in scenes.SPRITES.items():
                    drawing = np.array([[[mark == "#" and c for c in channels] for mark in line] for line in lines])
                    if np.array_equal(cell, drawing):
                        found.append((colour, shape, column, row))
    return found


def test_captions_say_what_the_picture_shows() -> None:
    """Every caption's claims and relation are checked in the rendered pixels."""
    drawn = scenes.draw(np.random.default_rng(0), 400)
    pictures, relations = drawn.render(), drawn.relations()
    for n, picture in enumerate(pictures):
        there = seen(picture)
        assert len(there) == drawn.counts[n].sum()
        for caption in scenes.captions(drawn.claims(n), relations[n]):
            claims, relation = scenes.read(caption)
            assert all(claim is not None for claim in claims)
            groups = [[(x, y) for colour, shape, x, y in there if (colour, shape) == claim[1:]] for claim in claims]
            assert [len(group) for group in groups] == [claim[0] for claim in claims]
            assert sum(map(len, groups)) == len(there)
            if relation is not None:
                axis, before = relation in ("above", "below"), relation in ("left of", "above")
                one, other = ([place[axis] for place in group] for group in groups)
                assert max(one) < min(other) if before else min(one) > max(other)


def test_scenes_are_drawn_as_said() -> None:
    drawn = scenes.draw(np.random.default_rng(1), 20_000)
    two = drawn.kinds[:, 1] >= 0
    assert stats.binomtest(int(two.sum()), 20_000).pvalue > UNLIKELY
    assert stats.chisquare(np.bincount(drawn.kinds[:, 0])).pvalue > UNLIKELY
    for group, rows in ((0, slice(None)), (1, two)):
        assert stats.chisquare(np.bincount(drawn.counts[rows, group])[1:]).pvalue > UNLIKELY
    assert (drawn.kinds[two, 0] != drawn.kinds[two, 1]).all()
    assert drawn.relations()[two].any(1).all()
    assert not drawn.relations()[~two].any()


def test_pictures_of_the_splits_are_disjoint() -> None:
    task = captioning(encoder="pixels")
    rng = np.random.default_rng(0)
    batches = [task.sample(rng, 20_000), *(task.split(name, rng, 5000) for name in ("validation", "test"))]
    read = [{row.tobytes() for row in batch.context} for batch in batches]
    assert [len(each) for each in read] == [1000, 1000, 1000]
    assert len(set().union(*read)) == 3000


def test_combinations_that_are_held_out_are_never_trained_on() -> None:
    task = captioning(held_out="combinations")
    names = {
        f"{list(scenes.COLOURS)[kind // len(scenes.SHAPES)]} {scenes.SHAPES[kind % len(scenes.SHAPES)]}"
        for kind in scenes.HELD_KINDS
    }
    assert {name.split()[0] for name in names} == set(scenes.COLOURS)
    assert {name.split()[1] for name in names} == set(scenes.SHAPES)
    for split, wanted in (("training", False), ("validation", True), ("test", True)):
        for row in task.album.rows[split]:
            kinds = {f"{colour} {shape}" for _, colour, shape in task.scenes.claims(row)}
            assert bool(kinds & names) is wanted


def test_every_caption_is_drawn_and_the_first_where_asked() -> None:
    for captions in ("any", "first"):
        task = captioning(captions=captions)
        batch = task.sample(np.random.default_rng(0), 3000)
        texts = [task.album.texts[n] for n in range(task.album.first[1], task.album.first[1] + task.album.many[1])]
        lengths = batch.target_lengths
        assert lengths is not None
        said = task._texts([batch.targets[: n - 1, b].tolist() for b, n in enumerate(lengths)])
        mine = {said[b] for b, rows in enumerate(task.album.pictures(batch)) if rows == [1]}
        assert mine <= set(texts) if captions == "any" else mine <= {texts[0]}


def test_the_first_caption_alone_leaves_nothing_uncertain() -> None:
    task = captioning(captions="first")
    batch = task.sample(np.random.default_rng(0), 200)
    assert task.measure(task.oracle(batch), batch)["cross_entropy"] == pytest.approx(0, abs=1e-6)


def test_projection_is_fixed_and_tells_pictures_apart() -> None:
    one, other = (captioning(size=64) for _ in range(2))
    assert np.array_equal(one.album.features, other.album.features)
    assert one.album.features.shape == (3000, 64)
    assert len(one.album.found) == 3000
    assert 0.2 < one.album.features.std() < 2


SCENE = [(2, "red", "square"), (1, "blue", "ring")]
LEFT = np.array([True, False, False, False])


@pytest.mark.parametrize(
    ("caption", "verdict"),
    [
        ("two red squares left of a blue ring", (True, True, True)),
        ("a blue ring right of two red squares", (True, True, True)),
        ("two red squares above a blue ring", (True, True, False)),
        ("two red squares right of a blue ring", (True, True, False)),
        ("three red squares left of a blue ring", (False, True, True)),
        ("two blue squares left of a red ring", (True, False, False)),
        ("two red rings left of a blue square", (False, False, False)),
        ("two red squares", (False, False, False)),
        ("two red square left of a blue ring", (False, False, False)),
        ("left of", (False, False, False)),
        ("", (False, False, False)),
    ],
)
def test_correctness_is_read_off_the_scene(caption: str, verdict: tuple[bool, bool, bool]) -> None:
    assert scenes.judged(caption, SCENE, LEFT) == verdict


def test_any_reference_matches_and_a_wrong_caption_does_not() -> None:
    task = captioning()
    batch = task.split("test", np.random.default_rng(0), 50)
    references = task.album.references(batch)
    last = task.judge(answer_of(task, [texts[-1] for texts in references]), batch)
    assert last["exact_match"] == last["objects_right"] == last["colours_right"] == last["relations_right"] == 1
    assert last["bleu"] == pytest.approx(100)
    same = task.judge(answer_of(task, ["two red squares"] * 50), batch)
    assert same["exact_match"] < 0.2 and same["bleu"] < 50
    assert task.judge(answer_of(task, [""] * 50), batch)["bleu"] == 0


def test_a_scene_can_be_drawn() -> None:
    from matplotlib.figure import Figure

    task = captioning()
    batch = task.split("test", np.random.default_rng(0), 2)
    axes = Figure().add_subplot()
    assert task.draw(axes, task.oracle(batch), task.oracle_answer(batch), batch, 1)
    assert axes.get_title() == axes.get_xlabel() == task.album.references(batch)[1][0]


# -- files ---------------------------------------------------------------------------------------------------------

NAMES = [f"{n}.jpg" for n in range(30)]


def coco() -> dict[str, Any]:
    notes = [
        {"image_id": n, "caption": f"A {'dog' if n % 2 else 'cat'} runs, {k}!"}
        for n in range(30)
        for k in ("fast", "far")
    ]
    return {"images": [{"id": n, "file_name": name} for n, name in enumerate(NAMES)], "annotations": notes}


def flickr() -> dict[str, Any]:
    splits = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    return {
        "images": [
            {"filename": name, "split": split, "sentences": [{"raw": f"A {k} dog ."} for k in ("big", "small")]}
            for name, split in zip(NAMES, splits, strict=True)
        ]
    }


def written(folder: Path, content: Any, vectors: Any = None, names: Any = None) -> dict[str, object]:
    (folder / "captions.json").write_text(json.dumps(content), encoding="utf-8")
    vectors = np.random.default_rng(0).normal(size=(30, 7)) if vectors is None else vectors
    np.savez(folder / "features.npz", names=np.array(NAMES if names is None else names), features=vectors)
    return {"path": str(folder / "captions.json"), "features": str(folder / "features.npz")}


def test_both_layouts_of_files(tmp_path: Path) -> None:
    task = captioning(**written(tmp_path, coco()))
    assert task.signature.context == 7
    batch = task.sample(np.random.default_rng(0), 40)
    assert all(texts[0] in ("a dog runs fast", "a cat runs fast") for texts in task.album.references(batch))
    sizes = {name: len(rows) for name, rows in task.album.rows.items()}
    assert sizes == {"training": 24, "validation": 3, "test": 3}
    assert [metric.name for metric in task.metrics][-2:] == ["bleu", "chrf"]
    task = captioning(**written(tmp_path, flickr()))
    sizes = {name: len(rows) for name, rows in task.album.rows.items()}
    assert sizes == {"training": 20, "validation": 5, "test": 5}
    batch = task.split("test", np.random.default_rng(0), 5)
    scores = task.judge(task.oracle_answer(batch), batch)
    assert scores["exact_match"] == 1


def _without(content: dict[str, Any], *path: Any) -> dict[str, Any]:
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return content


def _changed(content: dict[str, Any], value: Any, *path: Any) -> dict[str, Any]:
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "captions.json: is no caption file: there is no list 'images'"),
        (_without(coco(), "images", 3, "file_name"), r"images\[3\]: there is no 'file_name'"),
        (_without(coco(), "annotations", 5, "caption"), r"annotations\[5\]: there is no 'caption'"),
        (_changed(coco(), 99, "annotations", 5, "image_id"), r"annotations\[5\]: there is no picture with the id 99"),
        (_changed(coco(), " . ", "annotations", 5, "caption"), r"annotations\[5\]: the caption is empty"),
        (_changed(coco(), 3, "annotations", 5, "caption"), r"annotations\[5\]: is not text"),
        (_changed(flickr(), "dev", "images", 2, "split"), r"images\[2\]: the split is one of train, .* not 'dev'"),
        (_changed(flickr(), [], "images", 2, "sentences"), r"captions.json: the picture '2.jpg' has no caption"),
        (
            _changed(coco(), "x.jpg", "images", 2, "file_name"),
            "features.npz: there are no features of the picture 'x.jpg'",
        ),
    ],
)
def test_bad_captions_give_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        _ = captioning(**written(tmp_path, content)).signature


def test_bad_features_give_one_sentence(tmp_path: Path) -> None:
    nan = np.zeros((30, 7))
    nan[4, 2] = np.nan
    for vectors, names, sentence in (
        (nan, None, r"features.npz, row 4 \(4.jpg\): the features are not all finite"),
        (np.zeros(30), None, "names should be \\[N\\] and features numbers \\[N, C\\]"),
        (np.zeros((29, 7)), None, "names should be"),
        (np.array([[None]] * 30), None, "is no .npz archive of plain arrays, or damaged"),
    ):
        with pytest.raises(DataError, match=sentence):
            _ = captioning(**written(tmp_path, coco(), vectors, names)).signature
    options = written(tmp_path, coco())
    path = Path(str(options["features"]))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nothing"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"features.npz: is no .npz archive of plain arrays, or damaged"):
            _ = captioning(**options).signature
    np.savez(path, names=np.array(NAMES))
    with pytest.raises(DataError, match=r"features.npz: there is no array 'features'; it has names"):
        _ = captioning(**options).signature


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": "x.json"}, "path and features go together"),
        ({"features": "x.npz"}, "path and features go together"),
        ({"path": "/no/x.json", "features": "/no/x.npz"}, "/no/x.json: there is no such file"),
    ],
)
def test_bad_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'captioning': .*{sentence}"):
        captioning(**options)
