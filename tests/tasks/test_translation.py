"""Translation: the made-up languages, and the pairs drawn against a translator written apart from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec, load_run
from longlag.task import Task
from longlag_tasks import _languages as language

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def translation(**options: object) -> Task:
    return TaskSpec(name="translation", **options).build()


def texts(task: Task, size: int, split: str | None = None, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    batch = task.sample(rng, size) if split is None else task.split(split, rng, size)
    lengths = batch.target_lengths
    return [
        (task.source_text(batch, b), task.target_text(batch.targets[: lengths[b] - 1, b].tolist())) for b in range(size)
    ]


def test_examples_by_hand() -> None:
    dog, cat = (language.NOUN_ROOTS[language.NOUNS.index(noun)] for noun in ("dog", "cat"))  # he and she
    saw, tall, often = language.VERB_ROOTS[0], language.ADJECTIVE_ROOTS[1], language.OTHER_ADVERBS[2]
    for source, target in (
        ("the dog saw a cat", f"lo {dog} una {cat} {saw}-o"),  # the verb last, agreeing with its subject
        ("the cats saw a dog", f"lai {cat}en uno {dog} {saw}-ai"),
        ("some tall dogs saw a tall cat often", f"{often} unoi {dog}en {tall}-oi una {cat} {tall}-a {saw}-oi"),
    ):
        assert " ".join(language.translate(source.split())) == target


def test_nested_clauses_end_with_their_verbs_in_reverse() -> None:
    source = "the dog that saw some cats that heard a bird helped the queens"
    said = language.translate(source.split())
    saw, heard, helped = language.VERB_ROOTS[:3]
    assert [word for word in said if word.partition("-")[0] in (saw, heard, helped)] == [
        f"{heard}-ai",  # of the cats
        f"{saw}-o",  # of the dog
        f"{helped}-o",  # of the dog, six words after it
    ]


def test_words_with_several_translations_and_of_two_words() -> None:
    choosy, separable = language.VERBS[language.CHOOSY.start], language.VERBS[language.SEPARABLE.start]
    dog, cat = (language.translate(f"the king {choosy} the {noun}".split())[-1] for noun in ("dog", "cat"))
    assert dog.partition("-")[0] != cat.partition("-")[0]
    said = language.translate(f"the king {separable} the dog".split())
    assert said[2] == language.PARTICLES[0] and said[-1].startswith(language.VERB_ROOTS[language.SEPARABLE.start])
    articles = {language.translate(f"the {noun} saw a dog".split())[0] for noun in ("dog", "dogs", "cat", "cats")}
    assert len(articles) == 4


@pytest.mark.parametrize(
    "options", [{}, {"clauses": 0}, {"clauses": 4, "adjectives": 1.0}, {"clauses": 3, "least_clauses": 2}]
)
def test_drawn_pairs_are_those_of_the_plain_translator(options: dict[str, object]) -> None:
    for source, target in texts(translation(**options), 400):
        assert " ".join(language.translate(source.split())) == target


def test_words_are_distinct_and_genders_half_and_half() -> None:
    assert len(set(language.SOURCE)) == len(language.SOURCE)
    assert len(set(language.TARGET)) == len(language.TARGET)
    assert language.GENDER.sum() == len(language.NOUNS) / 2


def test_sentences_are_uniform_where_they_should_be() -> None:
    pairs = texts(translation(clauses=2), 12_000)
    clauses = np.bincount([source.split().count("that") for source, _ in pairs])
    assert stats.chisquare(clauses).pvalue > UNLIKELY
    words = [source.split() for source, _ in pairs]
    subjects = [word[1] if word[1] not in language.ADJECTIVES else word[2] for word in words]
    every = [*language.NOUNS, *language.PLURAL.values()]
    counts = np.bincount([every.index(subject) for subject in subjects], minlength=len(every))
    assert stats.chisquare(counts).pvalue > UNLIKELY
    adverbs = sum(word[-1] in language.ADVERBS for word in words)
    assert stats.binomtest(adverbs, len(words)).pvalue > UNLIKELY


def test_splits_are_disjoint_by_construction() -> None:
    """Even where there are few sentences, all of them drawn many times over."""
    task = translation(clauses=0, adjectives=0)
    training = {source for source, _ in texts(task, 60_000)}
    validation, test = ({source for source, _ in texts(task, 3000, split)} for split in ("validation", "test"))
    assert len(training) > 40_000
    assert not training & validation and not training & test and not validation & test


def test_longer_sentences_can_be_a_further_test() -> None:
    run = load_run(
        {"task": "translation", "cell": "lstm", "data": {"beyond": {"deep": {"least_clauses": 3, "clauses": 3}}}}
    )
    assert run.task_with(run.data.beyond["deep"]).build().signature == run.task.build().signature


def test_longest_translation_fits() -> None:
    task = translation(clauses=4, least_clauses=4, adjectives=1)
    batch = task.sample(np.random.default_rng(0), 5000)
    assert len(batch.targets) == task.signature.max_steps


def test_bad_options() -> None:
    with pytest.raises(UserError, match=r"^task 'translation': least_clauses \(2\) is above clauses \(1\)"):
        TaskSpec(name="translation", least_clauses=2)
