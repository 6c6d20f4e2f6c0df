"""What each aten operation means in the graph's few operations; the table is the list of what a core may use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from longlag.kernels.compiler.graph import Graph, Node

Rule = Callable[..., Any]

CUBIC = 0.044715
"""Of the approximation of GELU by tanh."""
FUNCTIONS = "sigmoid tanh exp log log1p expm1 erf sqrt rsqrt abs sign floor sin cos".split()
"""Operations of one argument that the graph has under torch's own names."""


class Lowering:
    """The rules, bound to one graph. ``rules[name]`` takes nodes (numbers become constants by `_`)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rules: dict[str, Rule] = {}
        for op in FUNCTIONS:
            self.rules[op] = lambda a, op=op: self._(op, a)
        self.rules["sgn"] = self.rules["sign"]
        for op in ("lt", "le", "gt", "ge", "eq", "ne"):
            self.rules[op] = lambda a, b, op=op: self._(op, a, b)
        for op in ("and", "or", "not"):
            rule = lambda *a, op=op: self._(op, *map(self.truth, a))  # noqa: E731
            self.rules[f"logical_{op}"] = self.rules[f"bitwise_{op}"] = rule
        for op in ("detach", "alias", "clone", "lift_fresh", "lift_fresh_copy", "expand", "_to_copy", "positive"):
            self.rules[op] = lambda a, *_, **__: a
        for op, value in (
            ("zeros_like", 0),
            ("ones_like", 1),
            ("new_zeros", 0),
            ("new_ones", 1),
            ("zeros", 0),
            ("ones", 1),
        ):
            self.rules[op] = lambda *_, value=value, **__: self.as_node(value)
        for name in dir(self):
            if name.startswith("op_"):
                self.rules[name[3:]] = getattr(self, name)

    def as_node(self, value: Any) -> Node:
        if isinstance(value, Node):
            return self.graph.number(value)
        if isinstance(value, int | float):
            return self.graph.const(value)
        raise TypeError(f"expected a number or a tensor, not {value!r}")

    def truth(self, value: Any) -> Node:
        if isinstance(value, Node) and value.is_bool:
            return value
        return self._("ne", value, 0)

    def _(self, op: str, *args: Any) -> Node:
        keep = op in ("and", "or", "not")
        nodes = [arg if keep and isinstance(arg, Node) else self.as_node(arg) for arg in args]
        return self.graph.make(op, *nodes)

    def where(self, condition: Any, yes: Any, no: Any) -> Node:
        return self.graph.make("select", self.truth(condition), self.as_node(yes), self.as_node(no))

    # arithmetic
    def op_add(self, a: Any, b: Any, alpha: float = 1) -> Node:
        return self._("add", a, self._("mul", b, alpha))

    def op_sub(self, a: Any, b: Any, alpha: float = 1) -> Node:
        return self._("sub", a, self._("mul", b, alpha))

    def op_rsub(self, a: Any, b: Any, alpha: float = 1) -> Node:
        return self.op_sub(b, a, alpha)

    def op_mul(self, a: Any, b: Any) -> Node:
        return self._("mul", a, b)

    def op_div(self, a: Any, b: Any) -> Node:
        return self._("div", a, b)

    def op_neg(self, a: Any) -> Node:
        return self._("neg", a)

    def op_reciprocal(self, a: Any) -> Node:
        return self._("div", 1, a)

    def op_square(self, a: Any) -> Node:
        return self._("mul", a, a)

    def op_pow(self, a: Any, b: Any) -> Node:
        if isinstance(b, Node) or isinstance(a, int | float):
            return self._("pow", a, b)
        if abs(b) == 0.5:
            return self._("sqrt" if b > 0 else "rsqrt", a)
        if b != int(b) or abs(b) > 16:
            return self._("pow", a, b)
        result, base, left = self.as_node(1), a, abs(int(b))
        while left:  # by squaring
            result = self._("mul", result, base) if left % 2 else result
            left //= 2
            base = self._("mul", base, base) if left else base
        return self._("div", 1, result) if b < 0 else result

    def op_addcmul(self, a: Any, b: Any, c: Any, value: float = 1) -> Node:
        return self.op_add(a, self._("mul", b, c), value)

    def op_addcdiv(self, a: Any, b: Any, c: Any, value: float = 1) -> Node:
        return self.op_add(a, self._("div", b, c), value)

    def op_lerp(self, a: Any, b: Any, weight: Any) -> Node:
        return self._("add", a, self._("mul", weight, self._("sub", b, a)))

    # choices; comparisons are arranged so that a NaN comes through
    def op_maximum(self, a: Any, b: Any) -> Node:
        return self._("max", a, b)

    def op_minimum(self, a: Any, b: Any) -> Node:
        return self._("min", a, b)

    def op_clamp(self, a: Any, low: Any = None, high: Any = None) -> Node:
        a = a if low is None else self.where(self._("lt", a, low), low, a)
        return self.as_node(a if high is None else self.where(self._("gt", a, high), high, a))

    def op_clamp_min(self, a: Any, low: Any) -> Node:
        return self.op_clamp(a, low)

    def op_clamp_max(self, a: Any, high: Any) -> Node:
        return self.op_clamp(a, None, high)

    op_hardtanh = op_clamp

    def op_hardtanh_backward(self, grad: Any, a: Any, low: float, high: float) -> Node:
        return self.where(self._("or", self._("le", a, low), self._("ge", a, high)), 0, grad)

    def op_where(self, condition: Any, yes: Any, no: Any) -> Node:
        return self.where(condition, yes, no)

    def op_masked_fill(self, a: Any, mask: Any, value: Any) -> Node:
        return self.where(mask, value, a)

    def op_scalar_tensor(self, value: float, **_: Any) -> Node:
        return self.as_node(value)

    def op_full(self, _size: Any, value: float, **_: Any) -> Node:
        return self.as_node(value)

    op_full_like = op_full
    op_new_full = op_full
    op_fill = op_full

    # activations and their derivatives, as torch decomposes them
    def op_sigmoid_backward(self, grad: Any, s: Any) -> Node:
        return self._("mul", grad, self._("mul", self._("sub", 1, s), s))

    def op_tanh_backward(self, grad: Any, t: Any) -> Node:
        return self._("mul", grad, self._("sub", 1, self._("mul", t, t)))

    def op_relu(self, a: Any) -> Node:
        return self.where(self._("le", a, 0), 0, a)

    def op_threshold_backward(self, grad: Any, a: Any, threshold: float) -> Node:
        return self.where(self._("le", a, threshold), 0, grad)

    def op_leaky_relu(self, a: Any, slope: float = 0.01) -> Node:
        return self.where(self._("gt", a, 0), a, self._("mul", a, slope))

    def op_leaky_relu_backward(self, grad: Any, a: Any, slope: float, _is_result: bool) -> Node:
        return self.where(self._("gt", a, 0), grad, self._("mul", grad, slope))

    def op_softplus(self, a: Any, beta: float = 1, threshold: float = 20) -> Node:
        scaled = self._("mul", a, beta)
        soft = self._("div", self._("log1p", self._("exp", scaled)), beta)
        return self.where(self._("gt", scaled, threshold), a, soft)

    def op_softplus_backward(self, grad: Any, a: Any, beta: float, threshold: float) -> Node:
        scaled = self._("mul", a, beta)
        return self.where(self._("gt", scaled, threshold), grad, self._("mul", grad, self._("sigmoid", scaled)))

    def op_log_sigmoid_forward(self, a: Any) -> tuple[Node, Node]:
        small = self._("exp", self._("neg", self._("abs", a)))
        low = self.where(self._("gt", a, 0), 0, a)
        return self._("sub", low, self._("log1p", small)), small

    def op_log_sigmoid_backward(self, grad: Any, a: Any, _buffer: Any) -> Node:
        return self._("mul", grad, self._("sigmoid", self._("neg", a)))

    def op_silu(self, a: Any) -> Node:
        return self._("mul", a, self._("sigmoid", a))

    def op_silu_backward(self, grad: Any, a: Any) -> Node:
        s = self._("sigmoid", a)
        slope = self._("mul", s, self._("add", 1, self._("mul", a, self._("sub", 1, s))))
        return self._("mul", grad, slope)

    def op_gelu(self, a: Any, approximate: str = "none") -> Node:
        return self._("mul", a, self.normal(a, approximate))

    def op_gelu_backward(self, grad: Any, a: Any, approximate: str = "none") -> Node:
        below = self.normal(a, approximate)
        if approximate == "none":
            density = self._("exp", self._("mul", self._("mul", a, a), -0.5))
            slope = self._("mul", self._("mul", a, 1 / math.sqrt(2 * math.pi)), density)
        else:
            inner = self._("add", 1, self._("mul", self._("mul", a, a), 3 * CUBIC))
            bend = self._("mul", below, self._("sub", 1, below))
            slope = self._("mul", self._("mul", a, math.sqrt(8 / math.pi)), self._("mul", inner, bend))
        return self._("mul", grad, self._("add", below, slope))

    def normal(self, a: Any, approximate: str) -> Node:
        """The share of a normal distribution below `a`, exact (``none``) or by ``tanh``."""
        if approximate == "none":
            return self._("mul", self._("add", 1, self._("erf", self._("mul", a, math.sqrt(0.5)))), 0.5)
        cubed = self._("mul", self._("mul", a, a), self._("mul", a, CUBIC))
        return self._("sigmoid", self._("mul", self._("add", a, cubed), math.sqrt(8 / math.pi)))

    def op_elu(self, a: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Node:
        negative = self._("mul", self._("expm1", self._("mul", a, input_scale)), alpha * scale)
        return self.where(self._("le", a, 0), negative, self._("mul", a, scale))

    def op_elu_backward(
        self, grad: Any, alpha: float, scale: float, input_scale: float, is_result: bool, a: Any
    ) -> Node:
        if is_result:
            slope = self._("mul", self._("add", a, alpha * scale), input_scale)
        else:
            slope = self._("mul", self._("exp", self._("mul", a, input_scale)), alpha * scale * input_scale)
        return self._("mul", grad, self.where(self._("le", a, 0), slope, scale))
