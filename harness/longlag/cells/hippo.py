"""HiPPO-LegS: a memory of Legendre coefficients of everything so far, and a gated network that reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from longlag.cells.base import GatedCell, rows
from longlag.errors import UserError
from longlag.kernels import Gate, Named, Weights
from longlag.options import Options


class HiPPOLegSOptions(Options):
    order: int | None = Field(default=None, ge=1)


class HiPPOLegS(GatedCell[HiPPOLegSOptions]):
    """HiPPO-LegS: Gu, Dao, Ermon, Rudra and Ré (2020), arXiv 2008.07669.

    u_t = w_x x_t + w_h h_{t-1} + b                                   one number, which the memory stores
    m_t = (I + A / 2n)^{-1} ((I - A / 2n) m_{t-1} + q u_t / n)        n = t - 1 steps before; m_1 = (u_1, 0, 0 ...)
    g_t = sigmoid(W_g x_t + V_g m_t + b_g)
    h_t = (1 - g_t) * h_{t-1} + g_t * tanh(W_h x_t + V_h m_t + b_h)

    A_ij = q_i q_j below the diagonal, i + 1 on it, 0 above, q_i = sqrt(2 i + 1), i = 0 ... N - 1: m are the first N
    coefficients of u_1 ... u_t, as a function of time, in the Legendre polynomials that are scaled to [0, t]. N =
    ``order``, H by default, at most 2 H.

    The inverse changes with every step. It is computed without a loop over N: A = K + q q^T / 2, and K - I/2 is skew.
    In the orthonormal basis of its pairs of eigenvectors the inverse of I + K / 2n is a rotation and a scale of every
    pair, and the rank-one rest takes three sums over units. The memory is stored in that basis, as a and b; norms are
    those of m.

    Shapes: w_x ``[I]``, w_h ``[H]``, W_g, W_h ``[H, I]``, V_g, V_h ``[H, N]``; (I + H + 1) + 2 H (I + N + 1)
    parameters. States: ``h``; ``a`` and ``b``; the terms of three sums that the next step needs, ``now``, whose sum
    q^T m_t is what the memory makes of the newest input, ``ahead`` and ``gain``; and the step number ``t``. No
    gradient flows through ``gain`` and ``t``.

    Differs from `MGU` and `GRU` in that the gates read h_{t-1} only through one number and the memory. A is fixed:
    stretching a sequence in time changes little, and there is no step size to set. Nothing is forgotten at a rate:
    after t steps one input's share of m is of the order 1/t, at a resolution of about t/N steps; hence no half-life to
    set.

    Initialisation as the authors' code: w U(-sqrt(3/(I + H)), sqrt(3/(I + H))); W_h, V_h as one matrix N(0, 2/(I + N +
    H)), W_g, V_g N(0, 1/(I + N)); biases U(-1/sqrt(n), 1/sqrt(n)) for a map of n numbers. The code precomputes a matrix
    for each of 1,024 steps and goes on with the last; here n goes on.
    """

    gates = (
        Gate("u"),
        Gate("now", inputs=False, sources=("now",), bias=False),
        Gate("ahead", inputs=False, sources=("ahead",), bias=False),
        Gate("gain", inputs=False, sources=("gain",), bias=False),
        Gate("z", sources=("new_a", "new_b")),
        Gate("g", sources=("new_a", "new_b")),
    )
    states = ("h", "a", "b", "now", "ahead", "gain", "t")
    units = ("q_a", "q_b", "omega", "first")
    intermediates = ("new_a", "new_b")

    @property
    def formula(self) -> str:
        return f"(I + H + 1) + 2*H*(I + {self.options.order or 'H'} + 1)"

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        n = torch.floor(s.t)  # a whole number anyway; the derivative of floor is zero
        c = 0.5 / torch.clamp(n, min=1)
        newest, begun, gain = g.now, n > 0, g.gain.detach()  # gain depends on time alone
        # q^T (I + c K)^{-1} b, where b is what the inverse of I + c A is applied to, and c / 2 of it is taken off
        along = g.ahead - c / 2 * newest * gain + 2 * c * g.u * gain
        push = 2 * c * g.u - c / 2 * newest - c / 2 * along / (1 + c / 2 * gain)
        a = s.a - c * (s.a / 2 - p.omega * s.b) + p.q_a * push
        b = s.b - c * (s.b / 2 + p.omega * s.a) + p.q_b * push
        a, b = solved(a, b, c, p.omega)
        return {
            "new_a": torch.where(begun, a, p.first * g.u),
            "new_b": torch.where(begun, b, 0.0),
        }

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        memory = self.first_stage(g, s, p)
        a, b = memory["new_a"], memory["new_b"]
        gate, n = torch.sigmoid(g.g), torch.floor(s.t) + 1
        now = p.q_a * a + p.q_b * b
        x, y = solved(a, b, 0.5 / n.detach(), p.omega)
        q_x, q_y = solved(p.q_a, p.q_b, 0.5 / n, p.omega)
        return {
            "h": (1 - gate) * s.h + gate * torch.tanh(g.z),
            "a": a,
            "b": b,
            "now": now,
            "ahead": 2 * (p.q_a * x + p.q_b * y) - now,  # (I + cK)^{-1} (I - cK) = 2 (I + cK)^{-1} - I
            "gain": p.q_a * q_x + p.q_b * q_y,
            "t": n,
        }

    def order(self, hidden_size: int) -> int:
        """N."""
        order = int(self.options.order or hidden_size)
        if order > 2 * hidden_size:
            raise UserError(f"order {order} of only {hidden_size} units: it is at most {2 * hidden_size}")
        return order

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {
            "store": (input_size + hidden_size,),
            "store_bias": (1,),
            "weight_ih": (2 * hidden_size, input_size),
            "weight_hm": (2 * hidden_size, self.order(hidden_size)),
            "bias": (2 * hidden_size,),
        }

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        basis, omega = legs_basis(self.order(hidden_size), hidden_size)
        q = torch.sqrt(2 * torch.arange(len(basis), dtype=torch.float64) + 1)
        numbers = torch.cat([q @ basis, omega, basis[0, :hidden_size]]).float().view(4, hidden_size)
        return {"basis": basis.float(), **dict(zip(self.units, numbers.unbind(0), strict=True))}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        store, weight_ih = parameters["store"], parameters["weight_ih"]
        size, inputs = len(weight_ih) // 2, weight_ih.shape[1]
        sums = store.new_ones(size, size)
        return Weights(
            weight_ih=torch.cat([store[:inputs].expand(size, inputs), weight_ih]),
            weight_hh=(
                store[inputs:].repeat(size, 1),
                sums,
                sums,
                sums,
                parameters["weight_hm"] @ parameters["basis"],
            ),
            bias=torch.cat([parameters["store_bias"].expand(size), parameters["bias"]]),
            bias_hh=None,
            units={name: parameters[name] for name in self.units},
        )

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs, order = parameters["weight_ih"].shape[1], self.order(hidden_size)
        bound, reads = 1 / math.sqrt(inputs + hidden_size), inputs + order
        parameters["store"].uniform_(-math.sqrt(3) * bound, math.sqrt(3) * bound, generator=generator)
        parameters["store_bias"].uniform_(-bound, bound, generator=generator)
        for name, variance in (("z", 2 / (reads + hidden_size)), ("g", 1 / reads)):
            for matrix in ("weight_ih", "weight_hm"):
                rows(("z", "g"), parameters[matrix], name).normal_(0, math.sqrt(variance), generator=generator)
        parameters["bias"].uniform_(-1 / math.sqrt(reads), 1 / math.sqrt(reads), generator=generator)


def solved(a: Tensor, b: Tensor, c: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
    """(I + c K)^{-1} of a pair, where K (a, b) = (a / 2 - omega b, b / 2 + omega a)."""
    stay, turn = 1 + c / 2, c * omega
    scale = 1 / (stay * stay + turn * turn)
    return (stay * a + turn * b) * scale, (stay * b - turn * a) * scale


def legs_basis(order: int, pairs: int) -> tuple[Tensor, Tensor]:
    """The orthonormal basis in which K of LegS turns pairs, and by how much, float64.

    Returns:
        ``[order, 2 * pairs]``, the first of all pairs, then the second, zeros where there are fewer; and omega
        ``[pairs]``. The second of a pair has no first coefficient.
    """
    q = torch.sqrt(2 * torch.arange(order, dtype=torch.float64) + 1)
    below = torch.tril(torch.outer(q, q), -1) / 2
    # S v = -i lambda v for the skew S, v = (x + i y) / sqrt(2): S x = lambda y, S y = -lambda x
    found, vectors = torch.linalg.eigh(1j * (below - below.T).to(torch.complex128))
    vectors = vectors * torch.exp(-1j * vectors[0].angle())  # an eigenvector has any phase
    omega, basis = torch.zeros(pairs, dtype=torch.float64), torch.zeros(order, 2 * pairs, dtype=torch.float64)
    count = order // 2
    omega[:count] = found[order - count :]
    basis[:, :count] = math.sqrt(2) * vectors[:, order - count :].real
    basis[:, pairs : pairs + count] = math.sqrt(2) * vectors[:, order - count :].imag
    if order % 2:
        basis[:, count] = vectors[:, count].real  # one alone, which S maps to zero
    return basis, omega
