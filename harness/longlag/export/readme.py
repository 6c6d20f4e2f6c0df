"""What the README of an exported run says."""

from __future__ import annotations

from longlag import escape
from longlag.export.graph import TOLERANCE, Onnx
from longlag.task import MappingKind
from longlag.tracking.stored_run import StoredRun
from longlag.training.trained import FREE, Trained

BEST = """It is the best run of the study {}: of the best trial (mean validation score over its seeds) the seed
with the best validation score. The test split had no part in that choice. For the study's own figures take the
mean over seeds that `longlag report` shows, not this one seed.

"""


def text(run: StoredRun, trained: Trained, onnx: Onnx | None, why_not: str, requested_as: str) -> str:
    """The whole README (Markdown)."""
    result, spec = run.result, trained.spec
    assert result is not None
    title = escape.markdown(f"{spec.cell.name} on {spec.task.name}, seed {spec.seed}")
    chosen = BEST.format(escape.code(requested_as.removesuffix(":best"))) if requested_as.endswith(":best") else ""
    test = ", ".join(f"{escape.markdown(name)} {value:.6g}" for name, value in (result.test or {}).items())
    return f"""# {title}

{chosen}One training run of longlag {escape.markdown(result.environment.get("longlag", ""))}: \
{result.outcome} ({escape.markdown(result.reason)}), {result.updates} updates, {result.parameters:,} parameters.
On the test split: {test}; score {result.score:.6g} (perfect 0, trivial predictor 1).

run_key `{result.run_key}`

| file | what it holds |
| --- | --- |
| `spec.json` | the run: everything that its numbers depend on |
| `result.json` | what it came to |
| `environment.json` | versions, kernel, threads and machine kind that its last bits depend on |
| `weights.safetensors` | parameters and buffers at its end, by name |
| `curves.parquet` | every point that was logged: metric, step, value, time_ms |
| `curves.json` | of every series the first, last, smallest and largest point |
| `longlag-export.json` | the files of this folder with their SHA-256 |
{_files(onnx)}
In curves through time the step is t, in curves by lag the lag, in all others the update. Pictures, predictions and
arrays of gradient norms are those that the run recorded.

## Repeat it

```
longlag run --spec spec.json
```

Where it has finished before, its result is shown; elsewhere it is trained, with the same torch, kernel, threads and
machine kind to the same numbers, bit for bit.

## Load it

```python
from longlag.training.trained import load

trained = load(".")  # this folder; a damaged file is refused
print({{name: array.shape for name, array in trained.inputs.items()}})  # what it takes, by the example of two sequences
print({{name: array.shape for name, array in trained.predict(trained.inputs).items()}})
```

{_inputs(trained)}

## ONNX

{_onnx(trained, onnx, why_not)}
"""


def _files(onnx: Onnx | None) -> str:
    return "" if onnx is None else "| `model.onnx` | the network for other runtimes |\n"


def _inputs(trained: Trained) -> str:
    """What goes in and comes out, in words."""
    said = {
        "inputs": "`inputs` (one vector, or symbol, a step)",
        "tokens": "`tokens` (one symbol a step, beside the reals)",
        "context": "`context` (the vector that an answer starts from)",
        "lengths": "`lengths` (the steps that exist in each sequence; 1 or more)",
    }
    shapes = [f"{said[k]}: {v.dtype} `{_shape(k, v.shape)}`" for k, v in trained.inputs.items()]
    what = "answers of its own length and their lengths" if trained.signature.mapping in FREE else (
        f"`outputs`: `[B, {trained.signature.values}]`, at the last step"
        if trained.signature.mapping is MappingKind.CLASSIFICATION
        else f"`outputs`: `[T, B, {trained.signature.values}]`, at every step"
    )  # fmt: skip
    meaning = "values" if trained.signature.loss == "mse" else "logits or raw parameters"
    loss = trained.signature.loss
    return f"""Arrays are time-major, T steps of B sequences.
In: {"; ".join(shapes)}.
Out: {what} ({meaning}; loss {loss})."""


def _shape(name: str, shape: tuple[int, ...]) -> str:
    axes = ["T", "B"] if name in ("inputs", "tokens") else ["B"]
    return f"[{', '.join([*axes, *(str(size) for size in shape[len(axes) :])])}]"


def _onnx(trained: Trained, onnx: Onnx | None, why_not: str) -> str:
    if onnx is None:
        return f"There is no model.onnx: {escape.markdown(why_not)}."
    names = ", ".join(f"`{name}`" for name in trained.inputs)
    return f"""`model.onnx` takes {names} as above and gives `outputs`, in float32.
Over {onnx.sequences} sequences of the test split ONNX Runtime's outputs differed from the harness's, in float32 too, by
at most {onnx.difference:.2g}; it is written only where every output is within {TOLERANCE:g} and that share of it.
Outputs behind the end of a sequence mean nothing.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(outputs,) = session.run(["outputs"], trained.inputs)
```"""
