"""The block around a layer: the shipped suite on whole blocks, each part against its equation, both directions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.cells import Cell, Composition, Layer, Stack, layer, mlp
from longlag.cells.stack import build
from longlag.kernels import State, StateGradients
from longlag.spec import BlockSpec
from longlag.testing import CellConformance

T, B, I, H = 9, 4, 3, 8  # noqa: E741


class Around(Layer):
    """A block and its layer, as the one layer that they are."""

    def __init__(self, stack: Stack) -> None:
        names = tuple(stack.initial_state(1)[0])
        super().__init__(stack.input_size, stack.hidden_size, stack.output_size, names)
        self.stack = stack

    def initial_state(self, batch: int) -> State:
        return self.stack.initial_state(batch)[0]

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None, record: StateGradients | None = None
    ) -> tuple[Tensor, State]:
        outputs, (final,) = self.stack(
            x, None if state is None else (state,), mask, None if record is None else [record]
        )
        return outputs, final

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        output, (new,) = self.stack.step(x_t, None if state is None else (state,))
        return output, new


class Blocked(Cell):
    """A cell with a block around it, for the suite."""

    def __init__(self, cell: Cell, block: BlockSpec) -> None:
        super().__init__()
        self.cell, self.block = cell, block

    @property
    def formula(self) -> str:
        """The sum of the table in docs/models.md."""
        how, wide = self.block, f"{self.block.expand}*H"
        parts = [
            f"(lambda I, H: {self.cell.formula})({wide}, {wide})",
            "(I != H)*H*(I + 1)",
            f"{ {'none': 0, 'rms': 1, 'layer': 2}[how.norm] * (1 + how.final_norm + (how.mlp != 'none')) }*H",
            f"{how.expand if how.expand > 1 else 0}*H*H",
            f"{5 * how.conv}*{wide}",
            f"{int(how.head_norm > 0)}*{wide}",
            f"{2 * how.gate}*{wide}*H",
            f"{int(how.expand > 1 and not how.gate)}*{wide}*H",
            f"{int(3 * how.mlp_factor) if how.mlp != 'none' else 0}*H*H",
        ]
        return " + ".join(parts)

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> Layer:
        how = Composition(block=self.block)
        return Around(Stack(self.cell, input_size, hidden_size, 1, generator, how))


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lstm": ("lstm", {}, {"name": "mamba", "head_norm": 1}),
    "gru": ("gru", {}, {"name": "xlstm", "head_norm": 1, "mlp_factor": 2}),
    "gated-deltanet": (
        "gated-deltanet",
        {"heads": 1},
        {"name": "pre-norm", "norm": "rms", "conv": True, "mlp": "none"},
    ),
}


class TestBlocks(CellConformance):
    @pytest.fixture(params=list(CASES.values()), ids=list(CASES))
    def cell(self, request: pytest.FixtureRequest) -> Cell:
        name, options, block = request.param
        return Blocked(build(name, options), BlockSpec.model_validate(block))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(name: str = "gru", block: Any = "plain", size: int = H, depth: int = 1, **how: Any) -> Stack:
    composition = Composition(block=BlockSpec.model_validate(block), **how)
    return layer(name, size, H, depth, seeded(), composition).double()


def inputs(size: int = H) -> Tensor:
    return torch.randn(T, B, size, generator=seeded(9)).double()


def test_a_block_is_its_equations() -> None:
    """By hand, with every part on, as docs/models.md has them."""
    full = {"name": "mamba", "head_norm": 4, "mlp": "geglu", "mlp_factor": 1.5}
    net, x = stack("gru", full, I), inputs(I)
    assert net.blocks is not None
    p = dict(net.blocks.named_parameters())
    for name, value in p.items():
        value.data += 0.1 * torch.randn(value.shape, generator=seeded(len(name))).double()  # norms are 1 at first

    def rms(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    h = x @ p["encoder.weight"].mT + p["encoder.bias"]
    u = rms(h, p["each.0.norm.weight"])
    v = u @ p["each.0.up.weight"].mT
    w, before = p["each.0.conv.weight"], F.pad(v, (0, 0, 0, 0, 3, 0))
    v = F.silu(sum((before[3 - j : 3 - j + T] * w[j] for j in range(4)), p["each.0.conv.bias"]))
    y, _ = net.layers[0](v)
    y = rms(y.unflatten(-1, (4, 2 * H // 4)), torch.ones(1).double()).flatten(-2) * p["each.0.head_norm.weight"]
    h = h + (y * F.silu(u @ p["each.0.gate.weight"].mT)) @ p["each.0.out.weight"].mT
    first, second = (rms(h, p["each.0.mlp_norm.weight"]) @ p["each.0.mlp.widen.weight"].mT).chunk(2, -1)
    assert first.shape[-1] == round(1.5 * H)
    h = h + (F.gelu(first) * second) @ p["each.0.mlp.narrow.weight"].mT
    torch.testing.assert_close(net(x)[0], rms(h, p["norm.weight"]))


@pytest.mark.parametrize("kind", ["gelu", "swiglu", "geglu"])
def test_a_feed_forward_part(kind: mlp.Kind) -> None:
    """Values and all gradients are those of the equation, with biases and without."""
    widen = torch.nn.Linear(H, 8 if kind == "gelu" else 16, bias=kind == "gelu").double()
    narrow = torch.nn.Linear(8, I, bias=kind == "gelu").double()
    x, seed = inputs(H).requires_grad_(), inputs(I)
    wide = widen(x)
    first, second = wide.chunk(2, -1) if kind != "gelu" else (wide, torch.ones(()))
    want = narrow((first * torch.sigmoid(first) if kind == "swiglu" else F.gelu(first)) * second)
    got = mlp.feed_forward(kind, x, widen, narrow)
    torch.testing.assert_close(got, want)
    with torch.no_grad():
        assert torch.equal(mlp.feed_forward(kind, x, widen, narrow), got)
    over = [x, *widen.parameters(), *narrow.parameters()]
    torch.testing.assert_close(torch.autograd.grad(got, over, seed), torch.autograd.grad(want, over, seed))


def test_a_block_without_parts_is_the_plain_stack() -> None:
    bare = {"name": "pre-norm", "norm": "none", "residual": False, "mlp": "none"}
    plain, same = stack(depth=2), stack(block=bare, depth=2)
    assert torch.equal(plain(inputs())[0], same(inputs())[0]) and same.blocks is None


@pytest.mark.parametrize("name", ["gru", "gated-deltanet"])
def test_chunks_with_holes_in_their_masks_equal_the_whole(name: str) -> None:
    """The convolution's window and the held output go from chunk to chunk, also for an example that has ended."""
    net, x = stack(name, "mamba", I, depth=2), inputs(I)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 0, 0], [1, 0, 0, 1],
                         [1, 1, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 1]]).bool()  # fmt: skip
    spoilt = torch.where(mask.unsqueeze(-1), x, torch.full_like(x, torch.nan))
    whole, final = net(spoilt, None, mask)
    state, parts = None, []
    for some, here in zip(spoilt.split([4, 1, 4]), mask.split([4, 1, 4]), strict=True):
        outputs, state = net(some, state, here)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert state is not None
    for got, want in zip(state, final, strict=True):
        torch.testing.assert_close(got, want)
    for b in range(B):
        alone, _ = net(x[mask[:, b], b : b + 1])
        torch.testing.assert_close(whole[mask[:, b], b], alone[:, 0])


def test_both_directions_in_a_block() -> None:
    """Each example is what it is alone, whatever its padding; both directions are recorded over all steps."""
    net, x = stack("gated-deltanet", "mamba", I, depth=2, bidirectional=True), inputs(I)
    lengths = torch.tensor([7, 3, 1, 5])
    mask, records = torch.arange(T)[:, None] < lengths, [StateGradients(), StateGradients()]
    outputs, _ = net(x, None, mask, records)
    summary = net.summary(outputs)
    for b, length in enumerate(lengths):
        alone, _ = net(x[:length, b : b + 1])
        torch.testing.assert_close(outputs[:length, b], alone[:, 0])
        torch.testing.assert_close(summary[b], (alone[0, 0] + alone[-1, 0]) / 2)
    summary.square().sum().backward()
    for record in records:
        assert {"forward.S", "backward.S", "forward.h"} <= record.squares.keys()
        assert all(len(squares) == T and squares[0].all() for squares in record.squares.values())


def test_dropout_is_on_what_a_block_adds() -> None:
    net, x = stack("gru", "pre-norm", depth=1, dropout=0.5), inputs()
    without = stack("gru", "pre-norm", depth=1)
    without.load_state_dict(net.state_dict())
    torch.testing.assert_close(net.eval()(x)[0], without(x)[0])
    again = stack("gru", "pre-norm", depth=1, dropout=0.5)
    assert torch.equal(net.train()(x)[0], again.train()(x)[0]) and not torch.equal(net(x)[0], again.eval()(x)[0])


def test_what_a_block_refuses() -> None:
    with pytest.raises(ValueError, match="a block has residual sums and norms of its own: leave out residual"):
        stack(block="mamba", layer_norm=True)
    with pytest.raises(ValueError, match=r"block.head_norm: 3 heads do not divide the 8 outputs of a layer"):
        stack(block={"head_norm": 3})
    with pytest.raises(ValueError, match="the masked view is of a plain stack: leave out block"):
        stack("lstm", "mamba", view="masked")


def test_a_learned_start_stands_beside_the_blocks_state() -> None:
    net = stack("gru", "mamba", I, initial_state="learned")
    assert {name: value.shape for name, value in net.initial_state(B)[0].items()} == {
        "h": (B, 2 * H), "block.h": (B, H), "block.window": (B, 3, 2 * H)
    }  # fmt: skip
    net(inputs(I))[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.starts.parameters())
