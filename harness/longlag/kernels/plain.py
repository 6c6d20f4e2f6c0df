"""The plain autograd loop: the oracle for every other kernel. Any device, any dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from longlag.kernels.recurrence import Layout, Named, Recurrence, State, Weights
from longlag.kernels.scan import Scan, check, narrowed, widened
from longlag.kernels.state_gradients import StateGradients


def project(layout: Layout, weights: Weights, x: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The input products of one step or of all steps, ``[..., n_inputs * H]``, and the biases by gate."""
    product = None if weights.weight_ih is None else x @ weights.weight_ih.mT
    biases: dict[str, Tensor] = {}
    if weights.bias is not None:
        biases = dict(zip(layout.biases, weights.bias.chunk(len(layout.biases)), strict=True))
    return product, biases


def step(
    cell: Recurrence,
    layout: Layout,
    weights: Weights,
    projected: Tensor | None,
    biases: dict[str, Tensor],
    state: State,
) -> State:
    """One step of the recurrence from the projected input ``[B, n_inputs * H]``."""
    some = next(iter(state.values()))
    from_input: dict[str, Tensor] = {}
    if projected is not None:
        from_input = dict(zip(layout.inputs, projected.chunk(len(layout.inputs), -1), strict=True))
    from_state: dict[str, Tensor] = {}
    recurrent_bias: dict[str, Tensor] = {}
    if weights.bias_hh is not None:
        recurrent_bias = dict(zip(layout.splits, weights.bias_hh.chunk(len(layout.splits)), strict=True))

    def multiply(stage: int, values: State) -> None:
        for product, matrix in zip(layout.products, weights.weight_hh, strict=True):
            if product.stage == stage:
                source = torch.cat([values[name] for name in product.sources], -1)
                parts = (source @ matrix.mT).chunk(len(product.gates), -1)
                from_state.update(zip(product.gates, parts, strict=True))

    def activations(stage: int) -> Named:
        values: dict[str, Tensor] = {}
        for gate in layout.gates:
            if gate.sources and gate.name not in from_state:
                continue  # its product belongs to the second stage
            first = from_input.get(gate.name, torch.zeros_like(some))
            if gate.name in biases:
                first = first + biases[gate.name]
            second = from_state.get(gate.name)
            if gate.split:
                second = torch.zeros_like(some) if second is None else second
                if gate.name in recurrent_bias:
                    second = second + recurrent_bias[gate.name]
                values[f"{gate.name}_x"], values[f"{gate.name}_h"] = first, second
            else:
                values[gate.name] = first if second is None else first + second
        return Named(values)

    previous, units = Named(state), Named(weights.units)
    multiply(1, state)
    if cell.intermediates:
        multiply(2, dict(cell.first_stage(activations(1), previous, units)))
    result = cell.core(activations(2), previous, units)
    return {name: result[name] for name in cell.states}


def record_gradients(record: StateGradients, state: State, step: int, rows: Tensor | None) -> None:
    """Have the backward pass record the gradients of `state`, of the examples `rows [B, 1]` only."""
    for name, value in state.items():
        if value.requires_grad:
            value.register_hook(lambda grad, name=name: record.put(name, step, grad, rows))


def unroll(
    cell: Recurrence,
    weights: Weights,
    x: Tensor,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
) -> tuple[Tensor, State]:
    """Run `cell` over ``x [T, B, I]`` from `state`.

    Args:
        cell: the recurrence.
        weights: its effective weights.
        x: inputs ``[T, B, I]``.
        state: the initial state, every tensor ``[B, H]``.
        mask: ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged.
        record: filled in the backward pass with the gradient norms of the states.

    Returns:
        The output states over time, side by side, ``[T, B, n H]``, and the final state.
    """
    layout = Layout.of(cell)
    projected, biases = project(layout, weights, x)
    # unbind, not indexing: indexing allocates a full-size gradient for every step
    inputs = [None] * len(x) if projected is None else projected.unbind(0)
    masks = [None] * len(x) if mask is None else mask.unsqueeze(-1).unbind(0)
    if record is not None:
        record.allocate(cell.states, x.shape[0], x.shape[1])
    history: dict[str, list[Tensor]] = {name: [] for name in cell.outputs}
    for t, (x_t, mask_t) in enumerate(zip(inputs, masks, strict=True)):
        new = step(cell, layout, weights, x_t, biases, state)
        if record is not None:
            record_gradients(record, new, t, mask_t)
        if mask_t is not None:
            new = {name: torch.where(mask_t, new[name], state[name]) for name in cell.states}
            if record is not None:  # where the step does not exist, what counts is the state carried over
                record_gradients(record, new, t, ~mask_t)
        state = new
        for name, values in history.items():
            values.append(state[name])
    over_time = [torch.stack(values) for values in history.values()]
    return over_time[0] if len(over_time) == 1 else torch.cat(over_time, -1), state


def scan(
    cell: Scan,
    inputs: State,
    parameters: State,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
) -> tuple[State, State]:
    """Run `cell` over its inputs from `state`.

    Args:
        cell: the scan.
        inputs: every tensor ``[T, B, n, *axes]``, n heads.
        parameters: every tensor ``[n, *axes]``, the same at every step.
        state: the initial state, every tensor ``[B, n, *axes]``.
        mask: ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged and outputs are 0.
        record: filled in the backward pass with the gradient norms of the states.

    Returns:
        The outputs, every tensor ``[T, B, n, *axes]``, and the final state.
    """
    sizes, axes = check(cell, type(cell).__name__, inputs, parameters, state), cell.axes
    steps, lead = sizes["steps"], (sizes["batch"], sizes["heads"])
    over_time = {name: widened(inputs[name], 3, own, axes).unbind(0) for name, own in cell.inputs.items()}
    fixed = Named({name: widened(parameters[name], 1, own, axes) for name, own in cell.parameters.items()})
    state = {name: state[name] for name in cell.states}
    if record is not None:
        record.allocate(tuple(cell.states), steps, sizes["batch"])
    history: dict[str, list[Tensor]] = {name: [] for name in cell.outputs}
    for t in range(steps):
        x_t = Named({name: values[t] for name, values in over_time.items()})
        before = Named({name: widened(state[name], 2, own, axes) for name, own in cell.states.items()})
        found = cell.core(x_t, before, fixed)
        new, read = (
            {name: narrowed(found[name], lead, own, axes, sizes, name) for name, own in group.items()}
            for group in (cell.states, cell.outputs)
        )
        mask_t = None if mask is None else mask[t].unsqueeze(-1)
        if record is not None:  # at what the core itself reads its outputs from
            core_made = {name: found[name] for name in new if found[name].numel() == new[name].numel()}
            record_gradients(record, new | core_made, t, mask_t)
        if mask_t is not None:
            new = {name: torch.where(like(mask_t, value), value, state[name]) for name, value in new.items()}
            read = {name: torch.where(like(mask_t, value), value, 0.0) for name, value in read.items()}
            if record is not None:  # where the step does not exist, what counts is the state carried over
                record_gradients(record, new, t, ~mask_t)
        state = new
        for name, values in history.items():
            values.append(read[name])
    return {name: torch.stack(values) for name, values in history.items()}, state


def like(rows: Tensor, value: Tensor) -> Tensor:
    """``rows [B, 1]`` so that they broadcast with ``value [B, ...]``."""
    return rows.view(len(rows), *(1 for _ in value.shape[1:]))
