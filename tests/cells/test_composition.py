"""Depth and what stands around it: residual sums, norms, both directions, dropout, learned starts, the masked view."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from longlag.cells import Composition, Stack, StateGradients, layer
from longlag.cells.stack import build

T, B, I, H = 9, 4, 3, 5  # noqa: E741


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(steps: int = T, size: int = I) -> torch.Tensor:
    return torch.randn(steps, B, size, generator=seeded(9)).double()


def stack(name: str = "lstm", depth: int = 2, size: int = I, **how) -> Stack:
    return layer(name, size, H, depth, seeded(), Composition(**how)).double()


@pytest.mark.parametrize("name", ["lstm", "rnn", "irnn"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_masked_layer_equals_the_stack_it_describes(name: str, depth: int) -> None:
    plain, masked = stack(name, depth), stack(name, depth, view="masked")
    (one,) = masked.layers
    assert one.weight_hh.shape == (len(one.layout.gates) * depth * H, depth * H)
    x, y = inputs().requires_grad_(), inputs().requires_grad_()
    outputs, final = plain(x)
    same, joined = masked(y)
    torch.testing.assert_close(same, outputs, rtol=1e-12, atol=1e-12)
    for state in one.state_names:
        beside = torch.cat([layer_state[state] for layer_state in final], -1)
        torch.testing.assert_close(joined[0][state], beside, rtol=1e-12, atol=1e-12)
    outputs.square().sum().backward()
    same.square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-12, atol=1e-12)
    unwanted = one.weight_hh.grad[one.recurrent_mask == 0]
    assert len(unwanted) == 0 or not unwanted.any()
    used = int(one.input_mask.sum() + one.recurrent_mask.sum()) + one.bias.numel()
    assert used == sum(p.numel() for p in plain.parameters())


def test_masked_layer_with_lengths_and_a_state_handed_on() -> None:
    plain, masked = stack(depth=3), stack(depth=3, view="masked")
    mask = torch.arange(T)[:, None] < torch.tensor([9, 4, 1, 6])
    want, final = plain(inputs(), None, mask)
    got, joined = masked(inputs(), None, mask)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    want, _ = plain(inputs(), final)
    got, _ = masked(inputs(), joined)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "how"), [("gru", {}), ("lstm", {"residual": True}), ("lstm", {"bidirectional": True})]
)
def test_masked_view_refuses_what_it_cannot_describe(name: str, how: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="masked view"):
        stack(name, 2, view="masked", **how)


def test_residual_adds_the_input_where_sizes_agree() -> None:
    plain, residual = stack(depth=1, size=H), stack(depth=1, size=H, residual=True)
    x = inputs(size=H)
    torch.testing.assert_close(residual(x)[0], plain(x)[0] + x)
    widening = stack(depth=1, residual=True)
    torch.testing.assert_close(widening(inputs())[0], stack(depth=1)(inputs())[0])


def test_layer_norm_is_torchs() -> None:
    plain, normed = stack(depth=1), stack(depth=1, layer_norm=True)
    torch.testing.assert_close(normed(inputs())[0], nn.functional.layer_norm(plain(inputs())[0], (H,)))


def test_bidirectional_agrees_with_torch() -> None:
    ours, theirs = stack("rnn", 2, bidirectional=True), nn.RNN(I, H, 2, bidirectional=True).double()
    for k, both in enumerate(ours.layers):
        for part, suffix in ((both.ahead, ""), (both.back, "_reverse")):
            part.weight_ih.data.copy_(getattr(theirs, f"weight_ih_l{k}{suffix}"))
            part.weight_hh.data.copy_(getattr(theirs, f"weight_hh_l{k}{suffix}"))
            part.bias.data.copy_(getattr(theirs, f"bias_ih_l{k}{suffix}") + getattr(theirs, f"bias_hh_l{k}{suffix}"))
    x = inputs()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    lengths = torch.tensor([9, 3, 1, 5])
    mask = torch.arange(T)[:, None] < lengths
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    want, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])
    got, _ = ours(x, None, mask)
    torch.testing.assert_close(got[mask], want[mask])
    last = ours.summary(got)
    for b, length in enumerate(lengths):
        torch.testing.assert_close(last[b], torch.cat([want[length - 1, b, :H], want[0, b, H:]]))
    with pytest.raises(TypeError, match="whole sequences"):
        ours.step(x[0])


def test_bidirectional_records_both_directions() -> None:
    both = stack("lstm", 1, bidirectional=True)
    records = [StateGradients()]
    both(inputs(), None, None, records)[0].square().sum().backward()
    assert set(records[0].squares) == {"forward.h", "forward.c", "backward.h", "backward.c"}
    assert all((squares > 0).all() for name, squares in records[0].squares.items() if name.endswith("h"))


def test_dropout_stands_between_layers_only_and_repeats() -> None:
    x = inputs(steps=200)
    dropped, again, plain = stack(depth=2, dropout=0.5), stack(depth=2, dropout=0.5), stack(depth=2)
    torch.testing.assert_close(dropped.eval()(x)[0], plain(x)[0])
    assert torch.equal(dropped.train()(x)[0], again.train()(x)[0])
    assert not torch.equal(dropped(x)[0], again.eval()(x)[0])
    single = stack(depth=1, dropout=0.5)
    torch.testing.assert_close(single.train()(x)[0], stack(depth=1)(x)[0])
    ones = torch.ones(100_000, dtype=torch.float64)
    noisy = dropped.dropouts[0](ones)
    assert set(noisy.unique().tolist()) == {0.0, 2.0}
    assert abs(float((noisy == 0).double().mean()) - 0.5) < 0.01


def test_learned_initial_state_is_trained() -> None:
    learned = stack(depth=2, initial_state="learned")
    plain = stack(depth=2)
    torch.testing.assert_close(learned(inputs())[0], plain(inputs())[0])
    assert sum(p.numel() for p in learned.parameters()) == sum(p.numel() for p in plain.parameters()) + 2 * 2 * H
    learned(inputs())[0].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in learned.starts.parameters())


def test_state_goes_from_chunk_to_chunk_with_truncated_gradients() -> None:
    """Truncated BPTT: values go on, gradients stop where the state is detached."""
    net = stack(depth=2)
    x = inputs(steps=8).requires_grad_()
    whole, _ = net(x)
    first, state = net(x[:5])
    second, _ = net(x[5:], tuple({n: v.detach() for n, v in s.items()} for s in state))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    second.sum().backward()
    assert not x.grad[:5].any() and x.grad[5:].any()


def test_wrong_shapes_are_named() -> None:
    net = stack()
    with pytest.raises(ValueError, match=r"expected x \[T, B, I\] with I = 3, got shape \(9, 4, 7\)"):
        net(inputs(size=7))
    with pytest.raises(ValueError, match="at least 1"):
        layer("lstm", 3, 0)
    with pytest.raises(ValueError, match=r"expected x \[B, I\]"):
        net.step(inputs())


def test_unknown_cell_and_option_are_named() -> None:
    with pytest.raises(Exception, match="did you mean 'lstm'"):
        build("lstmm")
    with pytest.raises(Exception, match="no field 'forget_bais'; did you mean 'forget_bias'"):
        build("lstm", {"forget_bais": 1})


def test_a_state_that_counts_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="cannot be learned"):
        stack("transformer", 1, initial_state="learned")
