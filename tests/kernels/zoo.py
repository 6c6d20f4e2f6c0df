"""Cells of every shape that the contract allows, each a few lines, for the tests of the kernels."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn.functional import softplus

from longlag import kernels
from longlag.cells.base import GatedCell
from longlag.cells.elman import IRNN, RNN
from longlag.cells.gru import GRU, GRUOptions
from longlag.cells.lstm import LSTM
from longlag.kernels import Gate

compiled = partial(kernels.unroll, kernel="compiled")


class Peephole(GatedCell):
    """Per-unit parameters."""

    gates = (Gate("i"), Gate("f"), Gate("z"), Gate("o"))
    states = ("h", "c")
    units = ("pi", "pf", "po")

    def core(self, g, s, p):
        c = torch.sigmoid(g.f + p.pf * s.c) * s.c + torch.sigmoid(g.i + p.pi * s.c) * torch.tanh(g.z)
        return {"h": torch.sigmoid(g.o + p.po * c) * torch.tanh(c), "c": c}


class GateRecurrence(GatedCell):
    """Gates fed back through a product of their own (as FGR): several states as one source, several outputs."""

    gates = (
        Gate("i", sources=("h", "i", "f")),
        Gate("z"),
        Gate("f", sources=("h", "i", "f")),
    )
    states = ("h", "c", "i", "f")
    outputs = ("h", "i")

    def core(self, g, s, p):
        i, f = torch.sigmoid(g.i), torch.sigmoid(g.f)
        c = f * s.c + i * torch.tanh(g.z)
        return {"h": torch.tanh(c), "c": c, "i": i, "f": f}


class Complex(GatedCell):
    """Two parts of a complex state, both outputs, rotated by one product over both and by a phase per unit."""

    gates = (Gate("re", sources=("re", "im")), Gate("im", sources=("re", "im"), bias=False))
    states = ("re", "im")
    outputs = ("re", "im")
    units = ("phase", "bias")

    def core(self, g, s, p):
        re = torch.cos(p.phase) * g.re - torch.sin(p.phase) * g.im
        im = torch.sin(p.phase) * g.re + torch.cos(p.phase) * g.im
        size = torch.sqrt(re * re + im * im + 1e-5)
        scale = torch.relu(size + p.bias) / size
        return {"re": re * scale, "im": im * scale}


class MinGRU(GatedCell):
    """No recurrent product: a scan."""

    gates = (Gate("z", sources=()), Gate("n", sources=()))

    def core(self, g, s, p):
        z = torch.sigmoid(g.z)
        return {"h": (1 - z) * s.h + z * g.n}


class Independent(GatedCell):
    """No product at all but the input's: the recurrence is a weight per unit."""

    gates = (Gate("a", sources=()),)
    units = ("u",)

    def core(self, g, s, p):
        return {"h": torch.relu(g.a + p.u * s.h)}


class Mutated(GatedCell):
    """Two stages whose core reads the gates of the first again, one gate without input, one without bias."""

    gates = (Gate("r"), Gate("z", inputs=False), Gate("n", sources=("rh", "rx"), bias=False), Gate("k", sources=()))
    intermediates = ("rh", "rx")

    def first_stage(self, g, s, p):
        r = torch.sigmoid(g.r)
        return {"rh": r * s.h, "rx": r * torch.tanh(g.k)}

    def core(self, g, s, p):
        z = torch.sigmoid(g.z)
        return {"h": torch.tanh(g.n + g.k) * z * torch.sigmoid(g.r) + s.h * (1 - z)}


class SplitOdd(GatedCell):
    """Split gates between others, one of them without bias."""

    gates = (Gate("a", split=True, bias=False), Gate("b"), Gate("c", split=True), Gate("d", inputs=False, split=True))
    states = ("h", "m")

    def core(self, g, s, p):
        m = s.m + torch.tanh(g.a_x) * torch.sigmoid(g.a_h) + 0.5 * g.d_x
        return {"h": torch.tanh(g.b + g.c_x * g.c_h + g.d_h) / (1 + m.abs()), "m": m}


class Exponential(GatedCell):
    """Exponential gates with a stabiliser, as sLSTM: maximum and softplus of several states."""

    gates = (Gate("i"), Gate("f"), Gate("z"), Gate("o"))
    states = ("h", "c", "n", "m")

    def core(self, g, s, p):
        m = torch.maximum(-softplus(-g.f) + s.m, g.i)
        i, f = torch.exp(g.i - m), torch.exp(-softplus(-g.f) + s.m - m)
        c, n = f * s.c + i * torch.tanh(g.z), f * s.n + i
        return {"h": torch.sigmoid(g.o) * c / torch.clamp(n, min=1e-3), "c": c, "n": n, "m": m}


CELLS = {
    "rnn": RNN(),
    "irnn": IRNN(),
    "lstm": LSTM(),
    "gru-after": GRU(),
    "gru-before": GRU(GRUOptions(reset="before")),
    "peephole": Peephole(),
    "gate-recurrence": GateRecurrence(),
    "complex": Complex(),
    "mingru": MinGRU(),
    "independent": Independent(),
    "mutated": Mutated(),
    "split-odd": SplitOdd(),
    "exponential": Exponential(),
}
