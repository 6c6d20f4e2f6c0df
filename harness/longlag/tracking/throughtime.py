"""Gradient flow over a whole run: which curves stand in MLflow as series, and all of them as arrays in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longlag import files
from longlag.parts import Parts
from longlag.probes import Curve
from longlag.probes.flow import QUANTILES, by_layer
from longlag.tracking import figures
from longlag.tracking.lags import POINTS, lags

BAND_POINTS = 16
ROWS = 256
SNAPSHOTS = 4
SECTION = "gradient_through_time"
LAG_SECTION, QUANTILE_SECTION = "gradient_by_lag", "gradient_quantiles"
LAST = "last"
MEANING = "mean over examples of the norm of the gradient; by_lag [measurements, lag], per_step [measurements, t - 1]"
Values = NDArray[np.float64]


def planned(updates: int, eval_every: int) -> tuple[int, ...]:
    """The updates whose curves become series of their own, known beforehand so that they agree between runs.

    Before the first update, and after the 1st, 2nd, 4th, 8th ... evaluation, thinned evenly; the last evaluation's
    curves come on top, under the name ``last``. Each is a series of every state of a run, and a column of MLflow's
    table: between them the pictures and the file show how it went.
    """
    powers, number = [], 1
    while number * eval_every < updates:
        powers.append(number * eval_every)
        number *= 2
    room = SNAPSHOTS - 2
    if len(powers) > room:
        powers = [powers[round(i)] for i in np.linspace(0, len(powers) - 1, room)]
    return (0, *powers)


def series_name(curve: Curve, update: int | None) -> str:
    """Of the series in MLflow: a collapsible section a state, the update padded so that names sort."""
    return f"{SECTION}/{curve.name}/{LAST if update is None else f'update_{update:06d}'}"


def series(curve: Curve) -> Iterator[tuple[int, float]]:
    """Step t, counted from 1, and the norm there; dense at the end, where lags are short."""
    steps = len(curve.norms)
    for lag in lags(steps)[::-1]:
        yield int(steps - lag), float(curve.norms[steps - 1 - lag])


def lag_name(curve: Curve, update: int | None) -> str:
    """Of the series of a lag curve."""
    return f"{LAG_SECTION}/{curve.name}/{LAST if update is None else f'update_{update:06d}'}"


def lag_series(values: Values, most: int = POINTS) -> Iterator[tuple[int, float]]:
    """Lag k and the norm there."""
    for lag in lags(len(values), most):
        yield int(lag), float(values[lag])


def bands(curve: Curve) -> Iterator[tuple[str, Iterator[tuple[int, float]]]]:
    """Names and series by lag of the quantiles over the examples, of the last measurement."""
    if curve.quantiles is not None:
        for share, values in zip(QUANTILES, curve.quantiles, strict=True):
            yield f"{QUANTILE_SECTION}/{curve.name}/last_q{100 * share:02.0f}", lag_series(values, BAND_POINTS)


def packed(curves: Sequence[Curve]) -> dict[str, Any]:
    """Curves as arrays and JSON values, for a checkpoint."""
    found: dict[str, Any] = {"curves": [[curve.part, curve.state, curve.kind] for curve in curves]}
    for number, curve in enumerate(curves):
        arrays = {"norms": curve.norms, "by_lag": curve.by_lag, "quantiles": curve.quantiles}
        found |= {f"{number}/{key}": np.ascontiguousarray(a) for key, a in arrays.items() if a is not None}
    return found


def unpacked(state: Mapping[str, Any]) -> list[Curve]:
    """Undo `packed`."""
    return [
        Curve(part, name, state[f"{n}/norms"], state[f"{n}/by_lag"], state.get(f"{n}/quantiles"), kind)
        for n, (part, name, kind) in enumerate(state["curves"])
    ]


def read(data: bytes) -> dict[str, Values]:
    """What `CurveHistory.write` wrote: curve -> norms ``[measurements, lag]``, NaN past the end of a shorter one.

    The curves come in the order in which they were measured: of each layer, what stands for its output first. Files
    of before this order was written down have those of ``h`` first.

    Raises:
        Damaged: when `data` is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    metadata = files.metadata(data)
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise files.Damaged(f"it is not a whole file of curves ({error})") from error
    found = [key.removesuffix("/by_lag") for key in arrays if key.endswith("/by_lag")]
    names: list[str] = sorted(found, key=lambda name: (not name.endswith(".h"), by_layer(name)))
    about = metadata.get("longlag", "")
    if about.startswith("{"):  # older files hold a sentence
        names = json.loads(about).get("curves", names)
    return {name: arrays[f"{name}/by_lag"].astype(np.float64) for name in names}


def under(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a state led by ``prefix/``, so that several stand in one."""
    return {f"{prefix}/{key}": value for key, value in state.items()}


def within(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `under`."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in state.items() if key.startswith(f"{prefix}/")}


class CurveHistory:
    """The curves of a run, one row a measurement.

    Args:
        name: of the files.
        norm: whose the norms are, for the picture: ``∂L``.
    """

    def __init__(self, name: str = SECTION, norm: str = "∂L") -> None:
        self.name, self.norm = name, norm
        self.updates: list[int] = []
        self.last: list[Curve] = []
        self._norms: dict[str, list[Values]] = {}
        self._by_lag: dict[str, list[Values]] = {}

    def add(self, update: int, curves: Sequence[Curve]) -> None:
        self.updates.append(update)
        self.last = list(curves)
        for curve in curves:
            self._norms.setdefault(curve.name, []).append(curve.norms)
            self._by_lag.setdefault(curve.name, []).append(curve.by_lag)

    def saved(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        rows = under("norms", {name: np.concatenate(each) for name, each in self._norms.items()})
        rows |= under("by_lag", {name: np.concatenate(each) for name, each in self._by_lag.items()})
        lengths = [[name, [len(row) for row in each]] for name, each in self._norms.items()]  # in this order
        return {"updates": self.updates, "lengths": lengths, **rows, **under("last", packed(self.last))}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `saved`."""
        self.updates = list(state["updates"])
        for name, lengths in state["lengths"]:
            cuts = np.cumsum(lengths)[:-1]
            self._norms[name] = np.split(state[f"norms/{name}"], cuts)
            self._by_lag[name] = np.split(state[f"by_lag/{name}"], cuts)
        self.last = unpacked(within("last", state))

    def by_lag(self) -> dict[str, Values]:
        """Layer and state -> ``[evaluations, lags]``; NaN past the end of a shorter one."""
        return {name: _stack(rows) for name, rows in self._by_lag.items()}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the file holds: ``updates``, ``layer1.h/by_lag`` ...; and over t where padding makes that different.

        float32, unless a norm is too small or too large for it.
        """
        result: dict[str, NDArray[np.generic]] = {"updates": np.array(self.updates, dtype=np.int64)}
        for name, by_lag in self.by_lag().items():
            norms = _stack(self._norms[name])
            result[f"{name}/by_lag"] = _narrow(by_lag)
            if not np.array_equal(norms, by_lag[:, ::-1], equal_nan=True):
                result[f"{name}/per_step"] = _narrow(norms)
        return result

    def write(self, folder: Path, map: bool = True) -> None:
        """The arrays (safetensors) and the picture into `folder`; without the map where there is a denser one."""
        from safetensors.numpy import save

        about = json.dumps({"meaning": MEANING, "curves": list(self._by_lag)})
        # under one key: safetensors writes several in an order that changes from file to file
        data = files.sealed_tensors(save(self.arrays(), metadata={"longlag": about}))
        (folder / f"{self.name}.safetensors").write_bytes(data)
        self._draw(folder, map=map)

    def _draw(self, folder: Path, **what: bool) -> None:
        path = folder / f"{self.name}.svg"
        draw = partial(figures.through_time, self.updates, self.by_lag(), path, self.norm, **what)
        Parts().make(f"the picture {path.name}", draw)


class TrainingCurveHistory(CurveHistory):
    """The curves of the training batches, one row a logged update: the dense map of updates and steps.

    When there are more than 256 rows every second one is dropped, and from then on twice as few are kept.
    """

    def __init__(self) -> None:
        super().__init__(f"{SECTION}_training")
        self._every, self._seen = 1, 0

    def add(self, update: int, curves: Sequence[Curve]) -> None:
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        super().add(update, curves)
        if len(self.updates) > ROWS:
            self._every *= 2
            del self.updates[1::2]
            for rows in (*self._norms.values(), *self._by_lag.values()):
                del rows[1::2]

    def saved(self) -> dict[str, Any]:
        return {**super().saved(), "every": self._every, "seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._every, self._seen = state["every"], state["seen"]

    def write(self, folder: Path, map: bool = True) -> None:
        """The arrays, compressed (``numpy.load``), and the picture into `folder`."""
        arrays: dict[str, Any] = dict(self.arrays())
        np.savez_compressed(folder / f"{self.name}.npz", **arrays)
        self._draw(folder, lines=False)


def _stack(rows: Sequence[Values]) -> Values:
    stacked = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(stacked, rows, strict=True):
        line[: len(row)] = row
    return stacked


def _narrow(values: Values) -> NDArray[np.generic]:
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    limits = np.finfo(np.float32)
    fits = size.size == 0 or (size.min() >= limits.tiny and size.max() <= limits.max)
    return np.ascontiguousarray(values, dtype=np.float32 if fits else np.float64)
