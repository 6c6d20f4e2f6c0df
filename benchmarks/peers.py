"""The same layers in a few lines of torch: what somebody without a compiled loop would write.

For `s4d` and `s5` a convolution over time by FFT, for `selective` a loop over time in Python, for `transformer` torch's
`scaled_dot_product_attention`. They share the layer's parameters and give the same outputs; `s4d`, `s5` and
`selective` share everything around their recurrence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.cells.attention import rotate, split
from longlag.cells.base import Layer
from longlag.cells.s5 import S5Layer
from longlag.cells.selective import SelectiveLayer
from longlag.cells.ssm import S4DLayer
from longlag.cells.transformer import TransformerLayer

Forward = Callable[[Tensor], Tensor]


def peer_of(layer: Layer) -> Forward | None:
    """The outputs ``[T, B, H]`` of `layer` for ``x [T, B, I]`` by torch alone; None for other layers."""
    if isinstance(layer, S4DLayer):
        return lambda x: s4d(layer, x)
    if isinstance(layer, S5Layer):
        return lambda x: s5(layer, x)
    if isinstance(layer, SelectiveLayer):
        return lambda x: selective(layer, x)
    if isinstance(layer, TransformerLayer):
        return lambda x: transformer(layer, x)
    return None


def convolved(values: Tensor, kernel: Tensor) -> Tensor:
    """``values [T, B, C]`` convolved over time with ``kernel [T, C]``, both real or complex, by FFT."""
    steps = len(values)
    if values.is_complex():
        product = torch.fft.fft(values, 2 * steps, 0) * torch.fft.fft(kernel, 2 * steps, 0).unsqueeze(1)
        inverse: Tensor = torch.fft.ifft(product, dim=0)
        return inverse[:steps]
    product = torch.fft.rfft(values, 2 * steps, 0) * torch.fft.rfft(kernel, 2 * steps, 0).unsqueeze(1)
    real: Tensor = torch.fft.irfft(product, 2 * steps, 0)
    return real[:steps]


def powers(factor: Tensor, steps: int) -> Tensor:
    """``factor^t``, t = 0 ... steps - 1, along a new first axis."""
    times = torch.arange(steps, dtype=torch.float32).view(-1, *(1 for _ in factor.shape))
    return torch.exp(times * torch.log(factor))


def s4d(layer: S4DLayer, x: Tensor) -> Tensor:
    u = x if layer.encoder is None else layer.encoder(x)
    p = {name: value.squeeze(0) for name, value in layer.core_parameters().items()}
    a, c = torch.complex(p["a_re"], p["a_im"]), torch.complex(p["c_re"], p["c_im"])
    kernel = torch.einsum("hn,thn->th", c, powers(a, len(u))).real
    return layer.mixing({"y": convolved(u, kernel) + p["d"] * u})  # type: ignore[no-any-return]


def s5(layer: S5Layer, x: Tensor) -> Tensor:
    u = x if layer.encoder is None else layer.encoder(x)
    p, b_re, b_im = layer.discrete()
    a = torch.complex(p["a_re"], p["a_im"]).squeeze(0)
    states = convolved(torch.complex(F.linear(u, b_re), F.linear(u, b_im)), powers(a, len(u)))
    c_re, c_im = (2 * layer.c).unbind(0)
    y = states.real @ c_re.mT - states.imag @ c_im.mT
    return layer.mixing({"y": y + layer.d * u})  # type: ignore[no-any-return]


def selective(layer: SelectiveLayer, x: Tensor) -> Tensor:
    u = x if layer.encoder is None else layer.encoder(x)
    low, b, c = layer.select(u).split(layer.widths, -1)
    dt = F.softplus(layer.to_dt(low))
    a = -torch.exp(layer.log_a)
    state, read = u.new_zeros(*u.shape[1:], layer.sizes["n"]), []
    for t in range(len(u)):
        kept = torch.exp(dt[t].unsqueeze(-1) * a)
        state = kept * state + (dt[t] * u[t]).unsqueeze(-1) * b[t].unsqueeze(1)
        read.append((state * c[t].unsqueeze(1)).sum(-1))
    y = torch.stack(read) + layer.d * u
    return layer.out(y * F.silu(layer.gate(u))) if layer.gated else layer.mixing({"y": y})  # type: ignore[no-any-return]


def transformer(layer: TransformerLayer, x: Tensor) -> Tensor:
    u = x if layer.encoder is None else layer.encoder(x)
    q, k, v = (split(part, layer.options.heads) for part in layer.project(layer.norms[0](u)).chunk(3, -1))
    attended = F.scaled_dot_product_attention(rotate(q, 0), rotate(k, 0), v, is_causal=True)
    a = u + layer.out(attended.permute(2, 0, 1, 3).flatten(2))
    return a + layer.narrow(F.gelu(layer.widen(layer.norms[1](a))))  # type: ignore[no-any-return]
