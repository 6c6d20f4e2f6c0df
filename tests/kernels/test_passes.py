"""The passes of the compiler one by one: graph, lowering, plan, elementary functions."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from numpy.polynomial import Chebyshev, Polynomial

from longlag.cells.base import GatedCell
from longlag.cells.elman import RNN
from longlag.cells.gru import GRU, GRUOptions
from longlag.cells.lstm import LSTM
from longlag.kernels import Gate, plain
from longlag.kernels.compiler.graph import Graph, reachable
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.compiler.trace import Untraceable, trace
from longlag.kernels.targets.c.emit import Body
from longlag.kernels.targets.c.resources import resource
from longlag.kernels.targets.c.source import source
from tests.kernels.zoo import GateRecurrence, MinGRU, compiled


def test_equal_expressions_are_one_node():
    graph = Graph()
    a, b = graph.input("a"), graph.input("b")
    assert graph.make("add", a, b) is graph.make("add", b, a)
    assert graph.make("sub", a, b) is not graph.make("sub", b, a)
    assert graph.make("mul", graph.const(2), graph.const(3)) is graph.const(6)


def test_simplification_keeps_what_could_be_nan():
    graph = Graph()
    a, zero, one = graph.input("a"), graph.const(0), graph.const(1)
    assert graph.make("add", a, zero) is a
    assert graph.make("mul", one, a) is a
    assert graph.make("neg", graph.make("neg", a)) is a
    assert graph.make("mul", a, zero) is not zero  # infinity times zero is NaN
    assert graph.make("sub", a, a) is not zero
    assert graph.make("div", a, a) is not one
    assert graph.const(0.0) is not graph.const(-0.0)


def test_only_what_the_roots_reach_is_printed():
    graph = Graph()
    a = graph.input("a")
    graph.make("exp", a)  # dead
    root = graph.make("add", graph.make("tanh", a), graph.const(0.5))
    assert [n.op for n in reachable([root])] == ["input", "tanh", "const", "add"]
    body = Body({a: ("g_a", "pre[j]")})
    body.add([root])
    assert [line.split(" = ")[1] for line in body.lines] == ["pre[j];", "ll_tanh(g_a);", "v3 + (real)0.5;"] or (
        "exp" not in "".join(body.lines)
    )


def test_a_traced_function_has_torchs_derivative():
    traced = trace(Graph(), lambda v: {"y": torch.tanh(v["a"]) * v["b"], "z": v["a"] + 0}, ("a", "b"), ("y", "z"))
    ops = {n.op for n in reachable(traced.gradients.values())}
    assert ops == {"input", "const", "tanh", "mul", "sub", "add"}
    assert traced.gradients["b"].op == "mul"
    assert traced.totals["y"].value == "d:y"


@pytest.mark.parametrize(
    "function, word",
    [
        (lambda a: torch.roll(a, 1, -1), "aten.roll"),
        (lambda a: torch.softmax(a, -1), "aten._softmax"),
        (lambda a: a - a.mean(-1, keepdim=True), "aten.mean"),
        (lambda a: a @ a.mT @ a, "aten."),
        (lambda a: a + torch.ones(2, 3) * torch.arange(3), "aten.arange"),
        (lambda a: a if a.sum() > 0 else -a, "aten."),
        (lambda a: a + torch.randn_like(a), "aten.randn_like"),
        (lambda a: a[..., :1].expand_as(a), "aten."),
    ],
)
def test_what_is_not_pointwise_is_refused_by_name(function, word):
    with pytest.raises(Untraceable, match=word):
        trace(Graph(), lambda v: {"y": function(v["a"])}, ("a",), ("y",))


def test_slots_of_one_product_are_neighbours():
    plan = make_plan(GRU())
    assert plan.slots == ("r", "z", "n_h", "n_x")
    assert [(r.row, r.slot, r.count) for r in plan.inputs] == [(0, 0, 2), (2, 3, 1)]
    plan = make_plan(GateRecurrence())
    assert plan.slots == ("i", "f", "z")
    assert [(t.source, t.slot, t.count) for t in plan.terms] == [("h", 0, 2), ("i", 0, 2), ("f", 0, 2), ("h", 2, 1)]


def test_activations_are_saved_in_place_of_preactivations():
    def saved(cell):
        return sorted("input" if n.op == "input" else n.op for n in make_plan(cell).saved)

    assert saved(LSTM()) == ["sigmoid", "sigmoid", "sigmoid", "tanh"]
    assert saved(RNN()) == []  # the derivative of tanh needs only the new state
    assert saved(GRU()) == ["input", "sigmoid", "sigmoid", "tanh"]
    assert saved(GRU(GRUOptions(reset="before"))) == ["sigmoid", "sigmoid", "tanh"]
    assert saved(MinGRU()) == ["input", "sigmoid"]


def test_the_source_names_states_and_gates():
    text = source(make_plan(LSTM()), "float")
    assert "/* LSTM: states h, c; pre-activations i, f, z, o." in text
    assert "/* i, f, z, o += U h */" in text


OPERATIONS = {
    "sigmoid": lambda a, b: torch.sigmoid(a),
    "tanh": lambda a, b: torch.tanh(a),
    "relu": lambda a, b: torch.relu(a),
    "exp": lambda a, b: torch.exp(a),
    "log": lambda a, b: torch.log(a),
    "log1p": lambda a, b: torch.log1p(a),
    "expm1": lambda a, b: torch.expm1(a),
    "softplus": lambda a, b: F.softplus(a),
    "logsigmoid": lambda a, b: F.logsigmoid(a),
    "erf": lambda a, b: torch.erf(a),
    "gelu": lambda a, b: F.gelu(a.clamp(-1e4, 1e4)),  # torch has NaN at infinity
    "gelu_tanh": lambda a, b: F.gelu(a.clamp(-1e4, 1e4), approximate="tanh"),
    "silu": lambda a, b: F.silu(a),
    "elu": lambda a, b: F.elu(a, 0.7),
    "leaky_relu": lambda a, b: F.leaky_relu(a, 0.1),
    "hardtanh": lambda a, b: F.hardtanh(a),
    "softsign": lambda a, b: F.softsign(a),
    "sqrt": lambda a, b: torch.sqrt(a),
    "rsqrt": lambda a, b: torch.rsqrt(a),
    "abs": lambda a, b: a.abs(),
    "sign": lambda a, b: torch.sign(a) + a,
    "floor": lambda a, b: torch.floor(a) + a,
    "square": lambda a, b: a**2,
    "cube": lambda a, b: a**3,
    "inverse": lambda a, b: a**-2,
    "root": lambda a, b: a**0.5,
    "power": lambda a, b: a.abs() ** 1.3,
    "cos": lambda a, b: torch.cos(a),
    "sin": lambda a, b: torch.sin(a),
    "neg": lambda a, b: -a,
    "add": lambda a, b: torch.add(a, b, alpha=0.3) + 2,
    "sub": lambda a, b: 1 - a - b,
    "mul": lambda a, b: a * b * 0.1,
    "div": lambda a, b: a / b,
    "reciprocal": lambda a, b: 1 / a,
    "maximum": lambda a, b: torch.maximum(a, b),
    "minimum": lambda a, b: torch.minimum(a, b),
    "clamp": lambda a, b: torch.clamp(a, -0.5, 0.7),
    "clamp_min": lambda a, b: a.clamp(min=-0.25),
    "where": lambda a, b: torch.where((a > b) & (a <= 1.5) | ~(b != 0.5), a, 0.5 * b),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "constant": lambda a, b: a * torch.tensor(0.5) + torch.ones_like(b),
    "comparison": lambda a, b: (a > b) * a,
}


class Operations(GatedCell):
    """Every operation as a state of its own, with two gates of its own, which are nothing but biases."""

    gates = tuple(Gate(f"{side}_{name}", sources=(), inputs=False) for name in OPERATIONS for side in "ab")
    states = tuple(OPERATIONS)
    outputs = states

    def core(self, g, s, p):
        return {name: f(getattr(g, f"a_{name}"), getattr(g, f"b_{name}")) for name, f in OPERATIONS.items()}


CANCELLING = ("add", "sub", "lerp", "addcmul", "gelu", "gelu_tanh")
VALUES = (
    [0.0, 0.5, 1.0, -1.0, 0.7, -0.5, 1.5, 2.0, 1e-3, -1e-3, 1e-6, -1e-7, 0.3, 3.3, -3.3, 8.5, -8.9]
    + [20.5, -20.5, 60.0, -60.0, 95.0, -95.0, 1e4, -1e4, 1e-30, math.inf, -math.inf, math.nan]
    + [k * 0.137 - 5 for k in range(70)]
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_every_operation_and_its_derivative_equal_torch(dtype):
    cell = Operations()
    a = torch.tensor(VALUES, dtype=dtype)
    b = a.roll(5)
    b[:3] = a[:3]  # ties
    bias = torch.cat([a, b]).repeat(len(OPERATIONS)).requires_grad_()
    state = {name: torch.zeros(1, len(a), dtype=dtype) for name in OPERATIONS}
    found = []
    for unroll in (plain.unroll, compiled):
        outputs, _ = unroll(cell, cell.weights({"bias": bias}), torch.zeros(1, 1, 1, dtype=dtype), state)
        (grad,) = torch.autograd.grad(outputs.sum(), bias)
        values = dict(zip(cell.outputs, outputs.chunk(len(cell.outputs), -1), strict=True))
        found.append((values, dict(zip(OPERATIONS, grad.view(-1, 2, len(a)), strict=True))))
    tolerance, smallest = (1e-6, 1e-37) if dtype == torch.float32 else (1e-13, 1e-305)  # denormals may be flushed
    for name in OPERATIONS:
        for k, what in enumerate(("value", "derivative")):
            expected, actual = (side[k][name] for side in found)
            if what == "derivative":  # torch's own at NaN depends on whether a vector or a scalar loop ran
                known = ~torch.stack([a, b]).isnan()
                expected, actual = expected[known], actual[known]
            torch.testing.assert_close(
                actual,
                expected,
                rtol=tolerance * (1, 4)[k],
                atol=tolerance if what == "derivative" or name in CANCELLING else smallest,
                equal_nan=True,
                msg=f"{what} of {name}: {{}}".format,
            )


@pytest.mark.parametrize("real, terms", [("float", 5), ("double", 11)])
def test_the_exponentials_polynomial_interpolates_at_chebyshevs_points(real, terms):
    """Of (exp(r) - 1 - r) / r^2 over |r| <= log(2)/2, by NumPy's own interpolation."""
    numbers = re.findall(r"-?\d\.\d+(?:e-\d+)?", polynomial_of(real))
    reach = math.log(2) / 2

    def function(x):
        return sum((x * reach) ** k / math.factorial(k + 2) for k in range(20))

    scaled = Chebyshev.interpolate(function, terms - 1).convert(kind=Polynomial).coef
    expected = [value / reach**k for k, value in enumerate(scaled)][::-1]
    assert len(numbers) == terms
    assert [float(number) for number in numbers] == pytest.approx(expected, rel=1e-5, abs=1e-14)


def polynomial_of(real):
    """The text of ``exp_polynomial`` for float or double."""
    double, single = re.findall(r"real exp_polynomial\(real z\) \{(.*?)\}", resource("elementary.h"), re.DOTALL)
    return single if real == "float" else double


def test_tanh_and_sigmoid_are_accurate_everywhere():
    x = torch.cat([torch.logspace(-30, 2, 4001), -torch.logspace(-30, 2, 4001)])[None, :, None]

    class Both(GatedCell):
        gates = (Gate("a", sources=(), bias=False),)
        states = ("t", "s")
        outputs = states

        def core(self, g, s, p):
            return {"t": torch.tanh(g.a), "s": torch.sigmoid(g.a)}

    cell = Both()
    for dtype, tolerance in ((torch.float32, 4e-7), (torch.float64, 1e-15)):
        state = {name: torch.zeros(x.shape[1], 1, dtype=dtype) for name in cell.states}
        ones = cell.weights({"weight_ih": torch.ones(1, 1, dtype=dtype)})
        outputs, _ = compiled(cell, ones, x.to(dtype), state)
        exact = x.to(dtype).double()
        t, s = outputs.chunk(2, -1)
        torch.testing.assert_close(t.double(), torch.tanh(exact), rtol=tolerance, atol=1e-37)
        torch.testing.assert_close(s.double(), torch.sigmoid(exact), rtol=tolerance, atol=1e-37)
        assert t.abs().max() == 1
