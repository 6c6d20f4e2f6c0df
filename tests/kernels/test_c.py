"""The C of the kernels as compilers and sanitizers see it: warnings, Clang, errors of memory and arithmetic."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longlag import registry
from longlag.cells import GatedCell, ScanCell
from longlag.cells.delta import GatedDeltaNet
from longlag.cells.rows import NORMED_GATED
from longlag.kernels.compiler.chain_plan import make_chain_plan
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.compiler.scan_plan import make_scan_plan
from longlag.kernels.targets.c import attention, cc, chain_source, maps, scan_source, tiles
from longlag.kernels.targets.c.call import CallLayout, declared
from longlag.kernels.targets.c.source import source
from longlag.spec import CellSpec
from tests.kernels.test_chain import BRANCHED
from tests.kernels.test_rows import SEVERAL
from tests.kernels.test_scan import Everything
from tests.kernels.zoo import CELLS

ROOT = Path(__file__).parents[2]
VECTORISED = ("lstm", "mutated", "exponential")


def path_of(name):
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_every_source_compiles_without_a_warning(name, tmp_path):
    compiler = cc.Compiler(path_of(name), "")
    whole = cc.probe_flags(compiler)
    # GCC finds some of what it warns of while optimising, Clang all of it while parsing
    quick = ("-std=gnu11", "-fopenmp-simd", "-Og" if name == "gcc" else "-fsyntax-only")
    cells = {name: CellSpec.model_validate(name).build() for name in registry.names("cell")}
    jobs: list[tuple[str, tuple[str, ...]]] = []
    jobs += [(source(make_plan(cell), "float"), quick) for cell in cells.values() if isinstance(cell, GatedCell)]
    scans = [cell for cell in cells.values() if isinstance(cell, ScanCell) and len(cell.axes) < 3]
    jobs += [(scan_source.source(make_scan_plan(cell), "float"), quick) for cell in scans]
    jobs += [(scan_source.source(make_scan_plan(cell), "double"), whole) for cell in (GatedDeltaNet(), Everything())]
    chains = [make_chain_plan(chain) for chain in (NORMED_GATED.alone, SEVERAL.alone, BRANCHED)]
    # with all flags Clang warns of a loop that stays without vectors, as the one with erf in double precision does
    jobs += [(chain_source.source(plan, "float"), whole) for plan in chains]
    jobs += [(chain_source.source(plan, "double"), quick if plan.chain is BRANCHED else whole) for plan in chains]
    jobs += [(source(make_plan(CELLS[name]), "double"), whole) for name in VECTORISED]
    jobs += [(module.source(real), whole) for module in (tiles, maps, attention) for real in ("float", "double")]

    def warnings(job):
        number, (text, flags) = job
        (tmp_path / f"{number}.c").write_text(text)
        command = [compiler.path, "-Wall", "-Wextra", "-Werror", *flags, "-c", f"{number}.c", "-o", f"{number}.o"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300).stderr

    with ThreadPoolExecutor(2) as pool:
        assert not "".join(pool.map(warnings, enumerate(jobs)))


def kernel_tests(chosen, folder, **environment):
    """Run the tests of the kernels in a process of its own, with a cache of its own."""
    files = ("compiled", "passes", "tiles", "derived", "scan", "rows", "chain", "attention")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", chosen]
    command += [f"--basetemp={folder / 'tests'}", "--capture=sys"]  # a sanitizer writes past Python's own stderr
    command += [str(Path(__file__).with_name(f"test_{name}.py")) for name in files]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
    assert sum(path.suffix in (".so", ".dylib") for path in (folder / "longlag").iterdir()) > 10


@pytest.mark.slow
def test_no_access_outside_a_tensor_and_no_undefined_arithmetic(tmp_path):
    """Every kind of cell with mask, slices and recomputation, products, and derived weights, by ASan and UBSan."""
    gcc = path_of("gcc")
    preload = [
        subprocess.run([gcc, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(Path(name).is_absolute() for name in preload):
        pytest.skip("gcc has no address sanitizer here")
    wrapper = tmp_path / "sanitizing-gcc"
    sanitizers = "-fsanitize=address,undefined -fno-sanitize-recover=all"
    wrapper.write_text(f'#!/bin/sh\nexec {gcc} "$@" -O0 -g {sanitizers}\n')
    wrapper.chmod(0o755)
    kernel_tests(
        "(many_inputs and 17) or (any_size and sizes0) or tiles or derived or (plain_loop and (odd or parts))"
        " or equals_torch",
        tmp_path,
        CC=str(wrapper),
        LD_PRELOAD=" ".join(preload),
        ASAN_OPTIONS="detect_leaks=0",  # Python's own
    )


def test_the_sanitizers_see_what_is_wrong(tmp_path):
    """The check above would be empty if the library it loads were not instrumented: the same flags on a known fault."""
    fault = tmp_path / "fault.c"
    fault.write_text("#include <stdlib.h>\nint main(int n, char **v) { char *p = malloc(1); (void)v; return p[n]; }\n")
    command = [path_of("gcc"), "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "fault.c", "-o", "fault"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("gcc has no address sanitizer here")
    done = subprocess.run([str(tmp_path / "fault")], capture_output=True, text=True)
    assert done.returncode and "heap-buffer-overflow" in done.stderr


@pytest.mark.slow
def test_the_kernels_pass_their_tests_with_clang(tmp_path):
    clang = path_of("clang")
    some = "many_inputs and (lstm or mutated or complex)"
    kernel_tests(
        f"(equals and float32) or ({some}) or not_finite or operation or tiles or cayley or (plain_loop and odd)"
        " or attention",
        tmp_path,
        CC=clang,
    )


def test_the_struct_of_a_call_is_packed_in_the_order_of_the_header():
    names = [name for name, _ in declared()]
    assert names[:6] == ["T", "B", "H", "I", "threads", "grad_stride"] and names[-1] == "grad_unit"
    layout = CallLayout({"N_STATES": 2, "N_PRODUCTS": 1, "N_UNITS": 0})
    assert layout.fields["stride"] == 2 and layout.fields["unit"] == 0 and layout.fields["mask"] == 1
    numbers = memoryview(layout.packer(("stride", "B"))([3, 4], 7)).cast("q").tolist()
    before = sum(count for name, count in list(layout.fields.items())[: names.index("stride")])
    assert numbers[1] == 7 and numbers[before : before + 2] == [3, 4] and sum(numbers) == 14
    together = memoryview(layout.packer((("saved", "mask"), "T"))([5, 6], 8)).cast("q").tolist()
    before = sum(count for name, count in list(layout.fields.items())[: names.index("saved")])
    assert together[0] == 8 and together[before : before + 2] == [5, 6] and sum(together) == 19
    for wrong in ("strides", ("mask", "saved")):
        with pytest.raises(KeyError, match=wrong if isinstance(wrong, str) else "mask"):
            layout.packer((wrong,))
