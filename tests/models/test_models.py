"""The models of the four mappings: what they compute, held against brute force and other libraries."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from longlag.cells.lstm import LSTM
from longlag.cells.stack import build as build_cell
from longlag.errors import UserError
from longlag.models import Model, Tensors, build, loss
from longlag.models.decoder import Memory
from longlag.models.losses import ctc, mixture_density, per_output
from longlag.spec import ModelSpec
from longlag.task import Batch, MappingKind, Mixed, NoInput, Reals, Signature, Tokens

B = 5
WORDS = Signature(Tokens(6), 4, MappingKind.TRANSLATION, "cross-entropy", end=0, max_steps=5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(signature: Signature, **model: Any) -> Model:
    spec = ModelSpec.model_validate({"hidden_size": 7, "depth": 2, **model})
    return build(signature, LSTM(), spec, seeded()).double()


def tensors(batch: Batch) -> Tensors:
    return Tensors.of(batch, torch.float64, torch.device("cpu"))


def words(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        rng.integers(0, 6, (8, B)),
        rng.integers(0, 4, (4, B)),
        lengths=np.array([8, 3, 5, 6, 2]),
        target_lengths=np.array([4, 4, 2, 1, 3]),
    )


KINDS: list[dict[str, Any]] = [{}, {"attention": "luong"}, {"network": "one"}, {"reverse_source": True}]


@pytest.mark.parametrize("decoder", [*KINDS, {"attention": "bahdanau"}])
def test_padding_of_source_and_answer_changes_nothing(decoder: dict[str, Any]) -> None:
    model, batch = model_of(WORDS, decoder=decoder), words()
    whole = model(tensors(batch))
    for b in range(B):
        source, answer = int(batch.lengths[b]), int(batch.target_lengths[b])
        alone = Batch(batch.inputs[:source, b : b + 1], batch.targets[:answer, b : b + 1])
        torch.testing.assert_close(model(tensors(alone))[:, 0], whole[:answer, b])


@pytest.mark.parametrize("block", ["plain", "mamba"])
@pytest.mark.parametrize("decoder", [*KINDS, {"attention": "bahdanau"}])
def test_greedy_answers_feed_back_what_they_say(decoder: dict[str, Any], block: str) -> None:
    """Given its own answer as the true history, the model says the same again; so does a beam of one."""
    model, batch = model_of(WORDS, decoder=decoder, block=block).eval(), words()
    answer = model.answer(tensors(batch), seeded())
    assert answer is not None
    again = Batch(batch.inputs, answer.values, batch.lengths)
    said = model(tensors(again)).argmax(-1).numpy()
    for b, length in enumerate(answer.lengths):
        stop = min(length + 1, len(said))
        assert (said[:stop, b] == answer.values[:stop, b]).all()
    narrow = model_of(WORDS, decoder={**decoder, "decoding": "beam", "beam": 1}, block=block).eval()
    beam = narrow.answer(tensors(batch), seeded())
    assert beam is not None and beam.sequences() == answer.sequences()


@pytest.mark.parametrize("decoder", [{}, {"network": "one"}, {"attention": "bahdanau"}])
def test_a_wide_beam_finds_the_likeliest_answer(decoder: dict[str, Any]) -> None:
    """Against every answer of up to five symbols there is."""
    wide = model_of(WORDS, decoder={**decoder, "decoding": "beam", "beam": 700}).eval()
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.mul_(3)  # opinions, not near-uniform guesses
        batch = words()
        source = Batch(batch.inputs[:8, :1], batch.targets[:, :1])
        found = wide.answer(tensors(source), seeded())
        candidates = [
            (*middle, 0)[: WORDS.max_steps]
            for n in range(WORDS.max_steps + 1)
            for middle in itertools.product(range(1, 4), repeat=n)
        ]
        scored = {}
        for candidate in set(candidates):
            given = Batch(source.inputs, np.array(candidate)[:, None])
            log_probability = wide(tensors(given)).log_softmax(-1)[:, 0]
            scored[candidate] = float(log_probability[torch.arange(len(candidate)), list(candidate)].sum())
        best = max(scored, key=lambda candidate: scored[candidate])
    assert found is not None and found.sequences() == [[symbol for symbol in best if symbol != 0]]


def test_scheduled_teacher_forcing_mixes_by_example() -> None:
    model = model_of(WORDS, decoder={"teacher_forcing": 1.0, "teacher_forcing_end": 0.0}).train()
    batch = tensors(words())
    taught = model(batch)
    model.set_progress(1.0)
    alone = model(batch)
    torch.testing.assert_close(alone[0], taught[0])
    assert not torch.equal(alone[1:], taught[1:])
    model.set_progress(0.5)
    assert model.forcing == 0.5
    mixed = model(batch)
    ends = [int(steps) for steps in words().target_lengths]
    for b, end in enumerate(ends):
        assert any(torch.allclose(mixed[:end, b], other[:end, b]) for other in (taught, alone))
    model.eval()
    torch.testing.assert_close(model(batch), taught)


@pytest.mark.parametrize("decoder", [{}, {"attention": "luong"}, {"attention": "bahdanau"}, {"network": "one"}])
def test_a_mixed_history_gives_the_outputs_and_gradients_of_single_steps(decoder: dict[str, Any]) -> None:
    model, batch = model_of(WORDS, decoder={**decoder, "teacher_forcing": 0.5}).train(), tensors(words())
    model.sampling.manual_seed(1)
    taught = torch.rand(batch.batch, generator=torch.Generator().manual_seed(1)) < 0.5
    assert taught.any() and not taught.all()
    found = model(batch)
    read = model._read(batch, None)
    state, memory = (read, Memory()) if decoder.get("network") == "one" else read
    previous, output, steps = model.decoder.start(batch.batch, found), None, []
    for target in batch.targets:
        numbers, state, output = model.decoder.step(previous, memory, state, output)
        steps.append(numbers)
        symbols = torch.where(taught, target, numbers.argmax(-1))
        previous = model.decoder.encode(symbols, numbers.dtype)
    exists = batch.answered
    assert exists is not None
    wanted = torch.stack(steps)
    torch.testing.assert_close(found[exists], wanted[exists])
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(found[exists].square().sum(), parameters),
        torch.autograd.grad(wanted[exists].square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_attention_makes_a_difference_and_ignores_padding() -> None:
    plain, attentive = model_of(WORDS), model_of(WORDS, decoder={"attention": "luong"})
    assert sum(p.numel() for p in attentive.parameters()) > sum(p.numel() for p in plain.parameters())
    batch = words()
    changed = batch.inputs.copy()
    changed[3:, 1] = (changed[3:, 1] + 1) % 6  # past the end of example 1
    before, after = (attentive(tensors(Batch(i, batch.targets, batch.lengths))) for i in (batch.inputs, changed))
    assert torch.equal(before, after)


def test_generation_depends_on_its_context() -> None:
    signature = Signature(NoInput(), 3, MappingKind.GENERATION, "mse", context=2, max_steps=6)
    rng = np.random.default_rng(0)
    context = rng.normal(size=(B, 2)).astype(np.float32)
    batch = Batch(np.zeros((0, B, 0), np.float32), rng.normal(size=(6, B, 3)).astype(np.float32), context=context)
    model = model_of(signature).eval()
    answer = model.answer(tensors(batch), seeded())
    assert answer is not None and answer.values.shape == (6, B, 3) and answer.lengths.tolist() == [6] * B
    assert len(np.unique(answer.values[-1, :, 0])) == B
    fed_back = Batch(batch.inputs, answer.values, context=context)
    np.testing.assert_allclose(model(tensors(fed_back)).detach().numpy(), answer.values, rtol=1e-5, atol=1e-6)


def test_both_inputs_stand_side_by_side() -> None:
    signature = Signature(Mixed(2, 3), 4, MappingKind.LABELLING, "cross-entropy")
    rng = np.random.default_rng(0)
    reals, tokens = rng.normal(size=(6, B, 2)).astype(np.float32), rng.integers(0, 3, (6, B))
    targets = rng.integers(0, 4, (6, B))
    joined = np.concatenate([reals, np.eye(3, dtype=np.float32)[tokens]], -1)
    same = model_of(Signature(Reals(5), 4, MappingKind.LABELLING, "cross-entropy"))
    both = model_of(signature)
    torch.testing.assert_close(
        both(tensors(Batch(reals, targets, tokens=tokens))), same(tensors(Batch(joined, targets)))
    )


def test_ctc_sums_over_all_alignments() -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(size=(5, 1, 3)))
    probability = outputs.softmax(-1)[:, 0].numpy()
    target, total = [1, 2], 0.0
    for path in itertools.product(range(3), repeat=5):
        merged = [symbol for symbol, _ in itertools.groupby(path) if symbol]
        if merged == target:
            total += float(np.prod([probability[t, symbol] for t, symbol in enumerate(path)]))
    batch = Batch(np.zeros((5, 1, 1), np.float32), np.array(target)[:, None])
    assert float(ctc(outputs, tensors(batch))) == pytest.approx(-np.log(total))


def test_mixture_density_against_scipy() -> None:
    rng = np.random.default_rng(0)
    raw, point = rng.normal(size=13), rng.normal(size=2)  # two components
    weights = np.exp(raw[1:3]) / np.exp(raw[1:3]).sum()
    density = 0.0
    for k in range(2):
        mean, std = raw[[3 + k, 5 + k]], np.exp(raw[[7 + k, 9 + k]])
        rho = 0.999 * np.tanh(raw[11 + k])
        covariance = np.outer(std, std) * np.array([[1, rho], [rho, 1]])
        density += weights[k] * stats.multivariate_normal(mean, covariance).pdf(point)
    lifted = 1 / (1 + np.exp(-raw[0]))
    for pen, probability in ((1.0, lifted), (0.0, 1 - lifted)):
        got = mixture_density(torch.from_numpy(raw), torch.tensor([*point, pen]).double())
        assert float(got) == pytest.approx(-np.log(density) - np.log(probability))


def test_bernoulli_sums_over_the_keys() -> None:
    signature = Signature(Reals(3), 3, MappingKind.LABELLING, "bernoulli")
    logits, keys = torch.tensor([[0.3, -2.0, 4.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    p = torch.sigmoid(logits)
    want = -(torch.log(p[0, 0]) + torch.log(1 - p[0, 1]) + torch.log(1 - p[0, 2]))
    torch.testing.assert_close(per_output(signature, logits, keys)[0], want)


def test_padding_counts_in_no_loss() -> None:
    model, batch = model_of(WORDS), words()
    other = batch.targets.copy()
    other[2:, 2] = (other[2:, 2] + 1) % 4  # past the end of answer 2
    values = [
        loss(WORDS, model(tensors(b)), tensors(b))
        for b in (batch, Batch(batch.inputs, other, batch.lengths, target_lengths=batch.target_lengths))
    ]
    assert torch.equal(*values)


def test_records_of_every_part() -> None:
    for decoder, parts in (
        ({}, {"encoder.layer1", "encoder.layer2", "decoder.layer1", "decoder.layer2"}),
        ({"attention": "bahdanau"}, {"encoder.layer1", "encoder.layer2", "decoder.layer1", "decoder.layer2"}),
        ({"network": "one"}, {"layer1", "layer2"}),
    ):
        model, batch = model_of(WORDS, decoder=decoder).eval(), tensors(words())
        records = model.records()
        assert set(records) == parts
        loss(WORDS, model(batch, records), batch).backward()
        assert all((record.squares["h"] > 0).any() for record in records.values())
        assert model.main_part in parts


@pytest.mark.parametrize(
    "model",
    [
        {"bidirectional": True},
        {"bidirectional": True, "decoder": {"network": "one"}},
        {"decoder": {"network": "one", "attention": "luong"}},
    ],
)
def test_what_cannot_be_combined_is_refused(model: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="model"):
        model_of(WORDS, **model)


def test_the_parts_of_a_block_belong_to_their_layer() -> None:
    model = model_of(WORDS, block="mamba")
    groups, parts = model.groups(), dict(model.named_parameters())
    names = {name: {n for n, p in parts.items() if any(p is q for q in group)} for name, group in groups.items()}
    second = "encoder.blocks.each.1."
    assert {f"{second}up.weight", f"{second}conv.weight", f"{second}out.weight"} <= names["encoder.layer2"]
    assert {"encoder.blocks.encoder.weight", "decoder.stack.blocks.norm.weight"} <= names["readout"]
    assert sum(map(len, groups.values())) == len(parts)


def test_weight_decay_leaves_vectors_starts_and_rates_alone() -> None:
    signature = Signature(Reals(3), 2, MappingKind.LABELLING, "mse")
    spec = ModelSpec.model_validate({"hidden_size": 4, "block": "mamba", "initial_state": "learned"})
    model = build(signature, build_cell("selective"), spec, seeded())
    alone = {id(p) for p in model.undecayed()}
    names = {name.rpartition(".")[2] for name, p in model.named_parameters() if id(p) in alone and p.dim() > 1}
    assert {"log_a"} < names and not names & {"weight", "c"}
    assert all(id(p) in alone for p in model.parameters() if p.dim() == 1)
    assert all(id(p) in alone for p in model.stack.starts.parameters())


def test_steps_of_a_matrix_cell_in_a_block_are_recorded() -> None:
    """With an attention that goes step by step; the state after the last step reaches no loss."""
    spec = ModelSpec.model_validate({"hidden_size": 8, "block": "mamba", "decoder": {"attention": "bahdanau"}})
    model = build(WORDS, build_cell("gated-deltanet"), spec, seeded()).double()
    batch, records = tensors(words()), model.records()
    model(batch, records).square().sum().backward()
    found = records["decoder.layer1"].squares
    assert set(found) == {"h", "S", "window"} and found["S"].shape == (4, B)
    assert found["S"][:3].all() and not found["S"][3].any()
