"""The unitary evolution network: a complex recurrence whose matrix is a product of simple unitary ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, partial

import torch
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.initialise import glorot
from longlag.kernels import Adjoint, Derived, Gate, Named, Weights


class URNN(GatedCell):
    """uRNN: Arjovsky, Shah and Bengio (2016), arXiv 1511.06464, as their code does it.

    W = D_3 R_2 F^{-1} D_2 P R_1 F D_1              unitary, H x H complex
    a_t = W h_{t-1} + V x_t                         h and a complex, x real
    h_t = a_t relu(|a_t| + b) / (|a_t| + 1e-5)      modReLU

    D_k = diag(exp(i theta_k)); R_k = 1 - 2 v_k v_k^* / |v_k|^2, a reflection; F the unitary Fourier transform; P a
    fixed random permutation. H counts complex units: the states re and im have ``[B, H]`` each, the output is both,
    ``[B, 2 H]``. W is composed once per forward call, as the real ``[2 H, 2 H]`` matrix [[Re, -Im], [Im, Re]].

    Shapes: V ``[2 H, I]``, theta ``[3, H]``, reflection ``[2, 2 H]`` (real parts, then imaginary parts), b ``[H]``
    (``offset``); 2 H I + 8 H parameters, and 2 H for the learned initial state. With the 2 H x 9 readout and its
    biases, 128 units and one-hot inputs of 10 symbols: the 6153 of the authors' copy memory.

    Differs from `ExpRNN` and `ScoRNN` in being complex and in reaching only part of the unitary matrices, with O(H)
    parameters. Initialisation: theta ~ U(-pi, pi); V Glorot; reflections Glorot as a 2 x 2 H matrix; b ~
    U(-0.01, 0.01); the initial state is learned, ~ U(-sqrt(3/(2H)), sqrt(3/(2H))). The 1e-30 under the root keeps the
    gradient finite where a = 0.
    """

    gates = (Gate("re", sources=("re", "im"), bias=False), Gate("im", sources=("re", "im"), bias=False))
    states = ("re", "im")
    outputs = ("re", "im")
    units = ("offset",)
    learned_state = True
    constrained = ("theta", "reflection")
    formula = "2*H*I + 8*H"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        modulus = torch.sqrt(g.re * g.re + g.im * g.im + 1e-30)
        scale = torch.relu(modulus + p.offset) / (modulus + 1e-5)
        return {"re": g.re * scale, "im": g.im * scale}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {
            "weight_ih": (2 * hidden_size, input_size),
            "theta": (3, hidden_size),
            "reflection": (2, 2 * hidden_size),
            "offset": (hidden_size,),
        }

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs = parameters["weight_ih"]
        glorot(inputs, inputs.shape[1], 2 * hidden_size, generator)
        parameters["theta"].uniform_(-math.pi, math.pi, generator=generator)
        glorot(parameters["reflection"], 2, 2 * hidden_size, generator)
        parameters["offset"].uniform_(-0.01, 0.01, generator=generator)

    def initialise_state(
        self, state: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None
    ) -> None:
        bound = math.sqrt(3 / (2 * hidden_size))
        for tensor in state.values():
            tensor.uniform_(-bound, bound, generator=generator)

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"permutation": torch.randperm(hidden_size, generator=generator)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        matrix = Derived((parameters["theta"], parameters["reflection"]), partial(unitary, parameters["permutation"]))
        units = {"offset": parameters["offset"]}
        return Weights(parameters["weight_ih"], (), None, None, units, {"weight_hh": matrix})


@lru_cache(maxsize=64)
def fourier(size: int, device: torch.device) -> Tensor:
    """F ``[n, n]`` complex: the unitary Fourier transform as a matrix."""
    one = torch.eye(size, dtype=torch.complex128, device=device)
    result: Tensor = torch.fft.fft(one, dim=0, norm="ortho")
    return result


class Reflection:
    """R = 1 - 2 v v^* / |v|^2 on the columns of a matrix M, and what its derivative needs."""

    def __init__(self, v: Tensor, matrix: Tensor) -> None:
        self.v, self.scale, self.matrix = v, 2 / v.abs().square().sum(), matrix
        self.along = v.conj() @ matrix

    def value(self) -> Tensor:
        return torch.addr(self.matrix, self.v * -self.scale, self.along)

    def adjoint(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Of M, and of v ``[2 n]``, real parts first."""
        across = self.v.conj() @ gradient  # R is its own adjoint: this is what it projects out of the gradient
        of_matrix = torch.addr(gradient, self.v * -self.scale, across)
        norm = self.scale * torch.vdot(across, self.along).real  # v stands in |v|^2, too
        of_v = self.scale * (norm * self.v - gradient @ self.along.conj() - self.matrix @ across.conj())
        return of_matrix, torch.cat([of_v.real, of_v.imag])


def rotation_gradient(gradient: Tensor, rotated: Tensor, dim: int) -> Tensor:
    """The gradient of the angles that rotated the rows (`dim` 1) or columns (0) of `rotated`."""
    return (gradient * rotated.conj()).imag.sum(dim)


def unitary(permutation: Tensor, theta: Tensor, reflection: Tensor) -> tuple[Tensor, Adjoint]:
    """W as a real matrix ``[2 n, 2 n]`` from theta ``[3, n]`` and reflection ``[2, 2 n]``.

    The derivative is written out: by autograd it takes ten times as many operations. In double precision, which costs
    little: seven factors lose digits that the gradient of a reflection needs.
    """
    angles, size = theta.double(), permutation.shape[0]
    first, second, third = torch.polar(torch.ones_like(angles), angles).unbind()
    vectors = torch.complex(*reflection.double().view(2, 2, size).unbind(1))
    one = Reflection(vectors[0], fourier(size, theta.device) * first)
    middle = one.value()[permutation].mul_(second.unsqueeze(1))
    two = Reflection(vectors[1], torch.fft.ifft(middle, dim=0, norm="ortho"))
    matrix = two.value().mul_(third.unsqueeze(1))
    result = theta.new_empty(2 * size, 2 * size)
    result[:size, :size] = result[size:, size:] = matrix.real
    result[size:, :size] = matrix.imag
    torch.neg(result[size:, :size], out=result[:size, size:])

    def adjoint(gradient: Tensor) -> tuple[Tensor, Tensor]:
        above, below = gradient.double().split(size)
        found = torch.complex(above[:, :size] + below[:, size:], below[:, :size] - above[:, size:])
        of_angles = [rotation_gradient(found, matrix, 1)]
        found, of_second = two.adjoint(found * third.conj().unsqueeze(1))
        found = torch.fft.fft(found, dim=0, norm="ortho")
        of_angles.append(rotation_gradient(found, middle, 1))
        back = torch.empty_like(found)
        back[permutation] = found.mul_(second.conj().unsqueeze(1))
        found, of_first = one.adjoint(back)
        of_angles.append(rotation_gradient(found, one.matrix, 0))
        of_theta, of_reflection = torch.stack(of_angles[::-1]), torch.stack([of_first, of_second])
        return of_theta.to(theta.dtype), of_reflection.to(theta.dtype)

    return result, adjoint
