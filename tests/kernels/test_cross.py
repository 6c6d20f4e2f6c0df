"""The kernels on another processor: compiled for aarch64 and run by qemu. No test here has run on a Mac."""

from __future__ import annotations

import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from longlag import registry
from longlag.cells import GatedCell
from longlag.kernels import StateGradients, plain
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.targets.c import attention, cc, maps, tiles
from longlag.kernels.targets.c.kernel import call_layout
from longlag.kernels.targets.c.source import source
from longlag.spec import CellSpec
from tests.kernels.zoo import CELLS

HERE = Path(__file__).parent
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
NEEDED = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"{' and '.join(NEEDED)} not installed")

FUNCTIONS = ("multiply", "pack", "stream", "outer", "gemm")
NUMBER, TENSOR, FUNCTION, PANEL = range(4)
STEPS, BATCH, HIDDEN, THREADS = 7, 5, 19, 2
KINDS = {"float": torch.float32, "double": torch.float64}


def gated_cells():
    cells = {name: CellSpec.model_validate(name).build() for name in registry.names("cell")}
    return {name: cell for name, cell in cells.items() if isinstance(cell, GatedCell)}


def compile_for_arm(folder, *arguments):
    command = [COMPILER, "-Wall", "-Wextra", "-Werror", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def build_for_arm(folder, real, driver, **texts):
    """A program of a driver and of C texts, compiled as they are on a machine of that kind."""
    flags = cc.probe_flags(cc.Compiler(COMPILER, ""))
    for name, text in texts.items():
        (folder / f"{name}.c").write_text(text)
        compile_for_arm(folder, *flags, "-c", f"{name}.c", "-o", f"{name}.o")
    double = f"-DLONGLAG_DOUBLE={int(real == 'double')}"
    objects = [f"{name}.o" for name in texts]
    compile_for_arm(folder, "-O1", double, HERE / driver, *objects, "-o", "program", "-static", "-pthread", "-lm")
    return folder / "program"


def run_for_arm(*command):
    done = subprocess.run([EMULATOR, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout}{done.stderr}"


@pytest.mark.slow
def test_every_cell_compiles_for_arm_without_a_warning(tmp_path):
    texts = {f"{name}.c": source(make_plan(cell), "float") for name, cell in gated_cells().items()}
    texts |= {"maps.c": maps.source("double"), "attention.c": attention.source("double")}

    def compiled(item):
        name, text = item
        (tmp_path / name).write_text(text)
        compile_for_arm(tmp_path, "-std=gnu11", "-O0", "-fopenmp-simd", "-c", name, "-o", f"{name}.o")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compiled, texts.items()))


@pytest.mark.parametrize("real", KINDS)
def test_products_by_tiles_on_arm(tmp_path, real):
    run_for_arm(build_for_arm(tmp_path, real, "tiles_driver.c", tiles=tiles.source(real)))


class Call:
    """The tensors and fields of one call, written for `call_driver.c` and read back."""

    def __init__(self):
        self.tensors: list[np.ndarray] = []
        self.fields: dict[str, list[tuple[int, int, int]]] = {}

    def tensor(self, array):
        self.tensors.append(np.array(array))  # a copy, contiguous
        return len(self.tensors) - 1

    def numbers(self, **values):
        self.fields |= {name: [(NUMBER, int(v), 0) for v in np.atleast_1d(value)] for name, value in values.items()}

    def at(self, name, *places):
        """Fields that point into tensors: each place a tensor, or a tensor and the number that the address is of."""
        self.fields[name] = []
        for place in places:
            tensor, first = place if isinstance(place, tuple) else (place, 0)
            self.fields[name].append((TENSOR, tensor, first * self.tensors[tensor].itemsize))

    def run(self, program, folder, layout):
        triples = []
        for name, times in layout.fields.items():
            triples += self.fields.get(name, [(NUMBER, 0, 0)] * times)
            assert len(self.fields.get(name, range(times))) == times
        header = struct.pack("2q", len(self.tensors), len(triples))
        parts = [struct.pack("q", t.nbytes) + t.tobytes() for t in self.tensors]
        call, back = folder / "call", folder / "back"
        call.write_bytes(header + b"".join(parts) + b"".join(struct.pack("3q", *triple) for triple in triples))
        run_for_arm(program, call, back)
        content, start = back.read_bytes(), 0
        for k, old in enumerate(self.tensors):
            self.tensors[k] = np.frombuffer(content, old.dtype, old.size, start).reshape(old.shape)
            start += old.nbytes


def problem(cell, dtype, inputs):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    layer = cell.layer(inputs, HIDDEN, generator).to(dtype)
    width = len(cell.outputs) * HIDDEN
    states = {name: numbers(BATCH, HIDDEN) for name in cell.states}
    by_final = {name: numbers(BATCH, HIDDEN) for name in cell.states}
    mask = torch.rand(STEPS, BATCH, generator=generator) > 0.2
    return layer, numbers(STEPS, BATCH, inputs), states, mask, numbers(STEPS, BATCH, width), by_final


def by_the_plain_loop(cell, layer, x, states, mask, by_outputs, by_final):
    x = x.clone().requires_grad_()
    states = {name: state.clone().requires_grad_() for name, state in states.items()}
    record = StateGradients()
    outputs, final = plain.unroll(cell, layer.weights(), x, states, mask, record)
    wanted = {"x": x, **states, **dict(layer.named_parameters())}
    results = [outputs, *final.values()]
    grads = torch.autograd.grad(results, list(wanted.values()), [by_outputs, *by_final.values()])
    return {
        "outputs": outputs,
        **{f"final {name}": value for name, value in final.items()},
        **{f"by {name}": grad for name, grad in zip(wanted, grads, strict=True)},
        **{f"squares of {name}": record.squares[name] for name in cell.states},
    }


def by_the_driver(cell, program, folder, layer, x, states, mask, by_outputs, by_final):
    plan, weights = make_plan(cell), layer.weights()
    width, n, call = len(plan.outputs) * HIDDEN, len(plan.states), Call()

    def new(*shape, like=x):
        return call.tensor(np.full(shape, np.nan, like.numpy().dtype))

    whole = new(STEPS + 1, BATCH, width)
    states_at = {name: (new(STEPS + 1, BATCH, HIDDEN), 0) for name in plan.states if name not in plan.outputs}
    states_at |= {name: (whole, HIDDEN * k) for k, name in enumerate(plan.outputs)}
    leads = [width if name in plan.outputs else HIDDEN for name in plan.states]
    call.numbers(T=STEPS, B=BATCH, H=HIDDEN, I=x.shape[2], threads=THREADS)
    call.numbers(stride=[BATCH * lead for lead in leads], lead=leads)
    call.fields |= {name: [(FUNCTION, k, 0)] for k, name in enumerate(FUNCTIONS)} | {"panel": [(PANEL, 0, 0)]}
    call.at("x", call.tensor(x.numpy()))
    call.at("mask", call.tensor(mask.numpy()))
    flat = {"weight_ih": weights.weight_ih, "bias": weights.bias, "bias_hh": weights.bias_hh}
    arrays = {"weight_hh": weights.weight_hh, "unit": [weights.units[name] for name in plan.units]}
    given = {name: [tensor] for name, tensor in flat.items() if tensor is not None} | arrays
    stride = sum(tensor.numel() for tensors in given.values() for tensor in tensors)
    sums, start = new(THREADS, stride), 0
    for name, tensors in given.items():
        call.at(name, *(call.tensor(tensor.detach().numpy()) for tensor in tensors))
        firsts = np.cumsum([start, *(tensor.numel() for tensor in tensors)])
        call.at(f"grad_{name}", *((sums, int(first)) for first in firsts[:-1]))
        start = int(firsts[-1])
    call.numbers(grad_stride=stride)
    call.at("grad_weights", sums)
    call.at("state", *(states_at[name] for name in plan.states))
    call.at("saved", new(STEPS, BATCH, len(plan.saved) * HIDDEN))
    call.at("initial", *(call.tensor(state.numpy()) for state in states.values()))
    finals = [new(BATCH, HIDDEN) for _ in range(n)]
    call.at("final", *finals)
    call.at("grad_final", *(call.tensor(by_final[name].numpy()) for name in plan.states))
    seed, zeros = call.tensor(by_outputs.numpy()), call.tensor(np.zeros((STEPS, BATCH, width), x.numpy().dtype))
    call.at("grad_output", *((seed, states_at[s][1]) if s in plan.outputs else zeros for s in plan.states))
    carried = [new(BATCH, HIDDEN) for _ in range(n)]
    call.at("grad_state", *carried)
    squares = [call.tensor(np.full((STEPS, BATCH), np.nan)) for _ in range(n)]
    call.at("squares", *squares)
    by_x = new(STEPS, BATCH, x.shape[2])
    call.at("grad_x", by_x)
    call.run(program, folder, call_layout(plan))

    found, tensors = {"outputs": call.tensors[whole][1:], "by x": call.tensors[by_x]}, call.tensors
    for k, name in enumerate(plan.states):
        found[f"final {name}"], found[f"by {name}"] = tensors[finals[k]], tensors[carried[k]]
        found[f"squares of {name}"] = tensors[squares[k]]
    total, start = tensors[sums].sum(0), 0
    parameters = [tensor for tensors in given.values() for tensor in tensors]
    names = {id(p): name for name, p in layer.named_parameters()}
    for parameter in parameters:
        found[f"by {names[id(parameter)]}"] = total[start : start + parameter.numel()].reshape(parameter.shape)
        start += parameter.numel()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize(("name", "inputs"), [("lstm", 3), ("mutated", 17)])
def test_a_cell_on_arm_equals_the_plain_loop_here(tmp_path, name, inputs, real):
    cell = CELLS[name]
    text = source(make_plan(cell), real)
    program = build_for_arm(tmp_path, real, "call_driver.c", cell=text, tiles=tiles.source(real))
    given = problem(cell, KINDS[real], inputs)
    expected = by_the_plain_loop(cell, *given)
    found = by_the_driver(cell, program, tmp_path, *given)
    assert found.keys() == expected.keys()
    tolerance = 1e-5 if real == "float" else 1e-12
    for what, value in expected.items():
        wanted = value.detach().numpy()
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found[what], wanted, rtol=tolerance, atol=tolerance * scale, err_msg=what)
