"""Pen strokes: the density against scipy's, letters in any hand, recordings, and drawings compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Answer, Array, Task
from longlag_tasks import _letters as letters
from longlag_tasks import _mixture as mixture
from longlag_tasks import _pen as pen
from longlag_tasks._ink import cut, read_ink
from longlag_tasks.pen_strokes import _recorded


def strokes(**options: object) -> Task:
    return TaskSpec(name="pen-strokes", **options).build()


def test_density_is_that_of_scipys_gaussians() -> None:
    rng = np.random.default_rng(0)
    outputs, target = rng.normal(size=13), np.array([0.3, -0.2, 1.0])
    weights = np.exp(outputs[1:3]) / np.exp(outputs[1:3]).sum()
    density = 0.0
    for k in range(2):
        x, y, deviation_x, deviation_y, rho = outputs[[3 + k, 5 + k, 7 + k, 9 + k, 11 + k]]
        sx, sy, rho = np.exp(deviation_x), np.exp(deviation_y), 0.999 * np.tanh(rho)
        normal = stats.multivariate_normal([x, y], [[sx**2, rho * sx * sy], [rho * sx * sy, sy**2]])
        density += weights[k] * normal.pdf(target[:2])
    wanted = -np.log(density) + np.log1p(np.exp(-outputs[0]))
    assert mixture.nats(outputs, target) == pytest.approx(wanted)
    assert mixture.expected(outputs) == pytest.approx([weights @ outputs[3:5], weights @ outputs[5:7]])


def test_one_gaussian_in_any_number_of_components_is_the_same() -> None:
    rng = np.random.default_rng(0)
    means, targets = rng.normal(size=(5, 4, 2)), np.concatenate([rng.normal(size=(5, 4, 2)), np.zeros((5, 4, 1))], -1)
    found = [
        mixture.nats(mixture.gaussian(means, np.log([0.5, 2.0]), 0.6, np.full((5, 4), -3.0), count), targets)
        for count in (1, 7)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    wanted = -stats.multivariate_normal([0, 0], [[0.25, 0.6], [0.6, 4]]).logpdf(targets[..., :2] - means)
    assert found[0] == pytest.approx(wanted + np.log1p(np.exp(-3)), rel=1e-4)


def test_every_letter_is_drawn_and_differs_from_all_others() -> None:
    shapes, advances = letters.letters()
    assert letters.ALPHABET == "abcdefghijklmnopqrstuvwxyz"
    drawn = [shapes.pick(np.array([k]))[0][:, 0] for k in range(26)]
    assert all(shape[-1, 2] == 1 and shape[:, 2].sum() in (1, 2) for shape in drawn)
    assert {c for c, shape in zip(letters.ALPHABET, drawn, strict=True) if shape[:, 2].sum() == 2} == set("fijktxy")
    assert len({shape.tobytes() for shape in drawn}) == 26
    assert (advances > 0.3).all()


def test_curves_pass_through_their_points_evenly() -> None:
    points = np.array([[0.0, 0], [0, 1], [1, 1], [2, 0]])
    found = letters.curve(points)
    assert found[0] == pytest.approx(points[0]) and found[-1] == pytest.approx(points[-1])
    steps = np.hypot(*np.diff(found, axis=0).T)
    assert steps.std() / steps.mean() < 0.1
    assert steps.mean() == pytest.approx(letters.SPACING, rel=0.1)


def test_hands_slant_stretch_and_scale() -> None:
    word = np.array([[1, 20, 24]])
    plain, lengths = letters.write(word, np.array([[0.0, 1.0, 1.0]]))
    x, y = plain[:, 0, 0].cumsum(), plain[:, 0, 1].cumsum()
    for slant, width, size in ((0.5, 1.0, 1.0), (0.0, 0.8, 1.2), (-0.2, 1.1, 0.9)):
        other, _ = letters.write(word, np.array([[slant, width, size]]))
        assert other[:, 0, 1].cumsum() == pytest.approx(size * y, abs=1e-5)
        assert other[:, 0, 0].cumsum() == pytest.approx(size * (width * x + slant * y), abs=1e-5)
        assert np.array_equal(other[..., 2], plain[..., 2])
    assert lengths == [sum(np.diff(letters.letters()[0].starts)[word[0]])]


def test_words_of_several_lengths_are_written_side_by_side() -> None:
    words, hands = np.array([[12, 12], [2, 11]]), np.array([[0.1, 1.0, 1.0], [0.3, 0.9, 1.1]])
    both, lengths = letters.write(words, hands)
    for b in range(2):
        alone, count = letters.write(words[b : b + 1], hands[b : b + 1])
        assert lengths[b] == count[0]
        assert both[: count[0], b] == pytest.approx(alone[:, 0])
        assert not both[count[0] :, b].any()


def test_prediction_is_of_the_next_point() -> None:
    batch = strokes().sample(np.random.default_rng(0), 30)
    for b, length in enumerate(batch.lengths):
        assert np.array_equal(batch.inputs[1:length, b], batch.targets[: length - 1, b])
        assert batch.targets[length - 1, b, 2] == 1  # the pen is lifted at the end


def test_offsets_are_in_their_own_units_and_noisy_as_asked() -> None:
    def of(jitter: float) -> Array:
        batch = strokes(form="synthesis", jitter=jitter).sample(np.random.default_rng(0), 2000)
        return batch.targets[batch.answered()]

    quiet, loud = of(0.01), of(0.5)
    assert quiet[:, :2].mean(0) == pytest.approx([0, 0], abs=0.02)
    assert quiet[:, :2].std(0) == pytest.approx([1, 1], abs=0.02)
    assert loud[:, :2].std(0) == pytest.approx([1.25**0.5] * 2, abs=0.02)
    difference = (loud - quiet)[:, :2] / 0.49  # the same draws
    assert stats.kstest(difference[:20_000].ravel(), "norm").pvalue > 1e-3


def test_the_reference_is_what_the_true_law_scores() -> None:
    """The density of the noise itself, around what the letters and the hand say."""
    task = strokes(form="synthesis", jitter=0.2)
    batch = task.sample(np.random.default_rng(0), 500)
    calm = strokes(form="synthesis", jitter=0.01).sample(np.random.default_rng(0), 500)
    noise = (batch.targets - calm.targets) / 0.19 * 0.2
    means = (batch.targets - noise)[..., :2]
    lift = np.where(batch.targets[..., 2] > 0.5, 40.0, -40.0)
    law = mixture.gaussian(means, np.log([0.2, 0.2]), 0.0, lift, 20)
    assert task.measure(law, batch)["mixture_density"] == pytest.approx(task.metrics[0].best, abs=0.01)


def test_context_says_letters_and_hand() -> None:
    task = strokes(form="synthesis", letters=2)
    batch = task.sample(np.random.default_rng(0), 50)
    assert batch.context.shape == (50, 55)
    assert (np.abs(batch.context[:, -3:]) <= 1).all()
    assert batch.context[:, :-3].sum(1).tolist() == [2] * 50
    drawn, lengths = letters.write(
        np.array([[letters.ALPHABET.index(c) for c in task.word(batch, b)] for b in range(50)]),
        np.tile([0.0, 1.0, 1.0], (50, 1)),
    )
    assert np.array_equal(lengths, batch.target_lengths)
    assert np.array_equal(drawn[..., 2] > 0.5, batch.targets[..., 2] > 0.5)


def test_distance_is_between_the_nearest_points_both_ways() -> None:
    one = np.array([[0.0, 0], [1, 0], [9, 9]])[:, None]
    other = np.array([[1.0, 0], [0, 2], [5, 5]])[:, None]
    exists = np.array([True, True, False])[:, None]
    assert pen.distance(one, other, exists) == pytest.approx([((1 + 0) / 2 + (0 + 2) / 2) / 2])
    many = np.tile(one, (1, 250, 1))
    assert pen.distance(many, np.tile(other, (1, 250, 1)), np.tile(exists, (1, 250))) == pytest.approx([0.75] * 250)


def test_an_answer_is_judged_up_to_the_end_of_the_word() -> None:
    task = strokes(form="synthesis")
    batch = task.sample(np.random.default_rng(0), 20)
    longer = np.concatenate([batch.targets, np.ones((5, 20, 3), np.float32)])
    assert task.judge(Answer(longer, np.full(20, len(longer))), batch)["distance"] == pytest.approx(0, abs=1e-6)
    still = Answer(np.zeros((1, 20, 3), np.float32), np.ones(20, np.int64))
    assert task.judge(still, batch)["distance"] > 0.2
    assert strokes().judge(still, batch) == {}


def ink(lines: list[list[list[tuple[float, float]]]], folder: Path) -> Path:
    """Files of strokes of points."""
    for n, line in enumerate(lines):
        drawn = ["".join(f'<Point x="{x}" y="{y}" time="0"/>' for x, y in stroke) for stroke in line]
        body = "".join(f"<Stroke>{points}</Stroke>" for points in drawn)
        (folder / f"line-{n:02}.xml").write_text(
            f'<?xml version="1.0"?><WhiteboardCaptureSession><StrokeSet>{body}</StrokeSet></WhiteboardCaptureSession>'
        )
    return folder


def lines(count: int) -> list[list[list[tuple[float, float]]]]:
    rng = np.random.default_rng(0)
    return [
        [[tuple(point) for point in rng.integers(0, 100, (rng.integers(2, 9), 2)).tolist()] for _ in range(4)]
        for _ in range(count)
    ]


def test_recordings_are_offsets_with_y_upward(tmp_path: Path) -> None:
    folder = ink([[[(10, 20), (13, 20), (13, 15)], [(30, 15)]]], tmp_path)
    assert read_ink(folder / "line-00.xml").tolist() == [[3, 0, 0], [0, 5, 1], [17, 0, 1]]


def test_recordings_in_splits_that_share_no_file_in_units_of_the_training_part(tmp_path: Path) -> None:
    task = strokes(path=str(ink(lines(20), tmp_path)), steps=10)
    files = [read_ink(path) for path in sorted(tmp_path.glob("*.xml"))]
    order = np.random.RandomState(0).permutation(20)
    training = np.concatenate([files[n] for n in order[4:]])
    assert task._scale.mean == pytest.approx(training[:, :2].mean(0))
    assert task._scale.deviation == pytest.approx(training[:, :2].std(0))
    _, pieces = _recorded(task.options)
    for name, rows in (("validation", order[:2]), ("test", order[2:4]), ("training", order[4:])):
        wanted = np.concatenate([files[n] for n in rows])
        assert task._scale.unscaled(pieces[name].values) == pytest.approx(wanted, abs=1e-3)
        assert np.diff(pieces[name].starts).max() <= 10
    assert task.split("test", np.random.default_rng(0), 100).size == len(pieces["test"])
    assert task.score({"mixture_density": task.baseline().value, "point_error": 0.0}) == pytest.approx(1)
    assert task.metrics[0].best == pytest.approx(-np.log(task._scale.deviation).sum())


def test_long_lines_are_cut_into_equal_pieces() -> None:
    assert [len(piece) for piece in cut([np.zeros((23, 3)), np.zeros((4, 3)), np.zeros((1, 3))], 10)] == [8, 8, 7, 4]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<a><b></a>", "line-00.xml, line 1: is no XML, or a damaged one"),
        ("<a/>", "holds 0 points in 0 strokes; it takes at least 3"),
        ("<a><StrokeSet><Stroke><Point x='1'/></Stroke></StrokeSet></a>", "stroke 1, point 1: y is None, not a number"),
        ("<a><StrokeSet><Stroke><Point x='1' y='nan'/></Stroke></StrokeSet></a>", "y is 'nan', not a number"),
        ("<a><StrokeSet><Stroke><Point x='ü' y='1'/></Stroke></StrokeSet></a>", "x is 'ü', not a number"),
    ],
)
def test_bad_files_give_one_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    folder = ink(lines(10), tmp_path)
    (folder / "line-00.xml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence) as caught:
        strokes(path=str(folder)).baseline()
    assert "\n" not in str(caught.value)


def test_other_bad_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no file \*.xml"):
        strokes(path=str(tmp_path))
    with pytest.raises(UserError, match="there is no such file or folder"):
        strokes(path=str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds 2 files, too few"):
        strokes(path=str(ink(lines(2), tmp_path))).baseline()
    still = [[[(5, n) for n in range(9)]]] * 10
    with pytest.raises(UserError, match="the pen never moves on one of its axes"):
        strokes(path=str(ink(still, tmp_path))).baseline()
    (tmp_path / "line-00.xml").write_bytes(b'<?xml version="1.0" encoding="utf-8"?><a b="\xff\xfe"/>')
    with pytest.raises(UserError, match=r"line-00\.xml"):
        strokes(path=str(tmp_path)).baseline()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": ".", "form": "synthesis"}, "holds no file|synthesis needs to know the letters"),
        ({"steps": 20}, "steps and held_out are for recorded strokes"),
        ({"jitter": 0}, "jitter: .*greater than or equal to 0.01"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        TaskSpec(name="pen-strokes", **options)
