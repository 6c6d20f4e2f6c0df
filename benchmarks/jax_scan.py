"""The training step of an LSTM, a GRU or a tanh RNN as a jitted JAX scan, where JAX is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any


def available() -> bool:
    return importlib.util.find_spec("jax") is not None


def training_step(gates: int, steps: int, batch: int, hidden: int, inputs: int) -> Callable[[], None]:
    """One forward and backward pass with `gates` gates: 1, 3 or 4. The first call compiles."""
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    bound = hidden**-0.5
    weights = {
        "w": jax.random.uniform(keys[0], (inputs, gates * hidden), minval=-bound, maxval=bound),
        "u": jax.random.uniform(keys[1], (hidden, gates * hidden), minval=-bound, maxval=bound),
        "b": jnp.zeros(gates * hidden),
    }
    x = jax.random.normal(keys[2], (steps, batch, inputs))
    sigmoid = jax.nn.sigmoid

    def step(p: Any, state: Any, a: Any) -> Any:
        h, c = state
        u = h @ p["u"]
        if gates == 1:
            h = jnp.tanh(a + u)
        elif gates == 3:
            (ar, az, an), (ur, uz, un) = jnp.split(a, 3, -1), jnp.split(u, 3, -1)
            z = sigmoid(az + uz)
            h = (1 - z) * jnp.tanh(an + sigmoid(ar + ur) * un) + z * h
        else:
            i, f, g, o = jnp.split(a + u, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
            h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def loss(p: Any) -> Any:
        zeros = jnp.zeros((batch, hidden))
        projected = x @ p["w"] + p["b"]
        return jax.lax.scan(lambda state, a: step(p, state, a), (zeros, zeros), projected)[1].sum()

    gradient = jax.jit(jax.grad(loss))
    return lambda: jax.block_until_ready(gradient(weights)) and None
