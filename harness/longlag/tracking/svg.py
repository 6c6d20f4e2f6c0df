"""Charts as SVG, written as text: a frame with two scales, lines and a map in it.

What every run draws must cost next to nothing. A picture by matplotlib takes a tenth of a second, nearly all of it for
axes, ticks and the setting of their labels; the same as text takes a hundredth, and is sharp at any size.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longlag import escape

Values = NDArray[np.float64]

VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
"""The colour map of that name at evenly spaced places."""
GREY = (216, 216, 216)
STYLE = (
    "text{font:13px sans-serif}.t{font-size:11px}.m{text-anchor:middle}.e{text-anchor:end}"
    "path{fill:none;stroke-width:1.6;stroke-linejoin:round}.g{stroke:#ddd;stroke-width:1}.k{stroke:#333;stroke-width:1}"
    "image{image-rendering:pixelated}"
)


@dataclass(frozen=True)
class Scale:
    """Where values stand along an axis.

    Args:
        low: value at its beginning.
        high: value at its end.
        ticks: values that are named.
        by: what grows evenly along the axis.
        back: undoes `by`.
    """

    low: float
    high: float
    ticks: Sequence[float]
    by: Callable[[Values], Values]
    back: Callable[[Values], Values]

    def place(self, values: Sequence[float] | Values) -> Values:
        """Between 0 and 1."""
        low, high = self.by(np.array([self.low, self.high]))
        placed: Values = (self.by(np.asarray(values, dtype=np.float64)) - low) / (high - low)
        return placed

    def cells(self, count: int) -> Values:
        """Values in the middle of so many equal parts of the axis."""
        low, high = self.by(np.array([self.low, self.high]))
        return self.back(low + (high - low) * (np.arange(count) + 0.5) / count)


def linear(low: float, high: float) -> Scale:
    """With four to nine ticks at round numbers."""
    high = high if high > low else low + 1
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(many for many in (5, 2, 1) if (high - low) / (many * step) >= 4 or many == 1)
    ticks = step * np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return Scale(low, high, ticks.tolist(), _same, _same)


def logarithmic(low: float, high: float) -> Scale:
    """With at most seven ticks, at powers of ten where there are two of them."""
    low, high = (low / 1.3, high * 1.3) if high < 1.1 * low else (low, high)
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    every = max(0, last - first) // 6 + 1
    ticks = [10.0**power for power in range(first + -first % every, last + 1, every)]
    return Scale(low, high, ticks if len(ticks) > 1 else [low, math.sqrt(low * high), high], np.log10, _power)


def lags(count: int) -> Scale:
    """Of lags 0 to count - 1: logarithmic from 1 on, with a place for lag 0; few lags need no logarithm."""
    if count <= 30:
        return linear(0, max(1, count - 1))
    each = (1, 3) if count < 500 else (1,)
    ticks = [m * 10**power for power in range(math.ceil(math.log10(count))) for m in each]
    return Scale(0, count - 1, [0, *(tick for tick in ticks if tick < count)], _lag, _lag_back)


def palette(count: int = 255) -> NDArray[np.uint8]:
    """So many colours of viridis, from its one end to the other, ``[count, red green blue]``."""
    known = np.array([list(bytes.fromhex(colour)) for colour in VIRIDIS])
    places = np.linspace(0, len(known) - 1, count)
    channels = [np.interp(places, np.arange(len(known)), channel) for channel in known.T]
    return np.stack(channels, -1).round().astype(np.uint8)


class Frame:
    """Axes: a rectangle of the picture, in pixels from its upper left corner.

    Args:
        left, top, width, height: of the rectangle.
        across: scale along the width.
        up: scale along the height.
    """

    def __init__(self, left: float, top: float, width: float, height: float, across: Scale, up: Scale) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height
        self.across, self.up = across, up

    def axes(self, across: str = "", up: str = "", grid: bool = False, right: bool = False) -> str:
        """Ticks, their values and what the axes are; those of the second axis stand on the left unless on the right."""
        bottom, end = self.top + self.height, self.left + self.width
        xs = self.left + self.width * self.across.place(self.across.ticks)
        ys = bottom - self.height * self.up.place(self.up.ticks)
        side, turn, kind = (end + 7, end + 52, "t") if right else (self.left - 7, self.left - 55, "t e")
        lines = [f"M{x:.1f} {bottom}v{-self.height if grid else 4}" for x in xs]
        lines += [f"M{end if right else self.left} {y:.1f}h{self.width if grid else 4 if right else -4}" for y in ys]
        values = [_text(x, bottom + 17, _name(v), "t m") for x, v in zip(xs, self.across.ticks, strict=True)]
        values += [_text(side, y + 4, _name(v), kind) for y, v in zip(ys, self.up.ticks, strict=True)]
        middle = self.top + self.height / 2
        beside = f'<g transform="translate({turn:.1f} {middle:.1f}) rotate(-90)">{_text(0, 0, up, "m")}</g>'
        box = f'<path class="k" d="M{self.left} {self.top}h{self.width}v{self.height}h{-self.width}z"/>'
        below = _text(self.left + self.width / 2, bottom + 36, across, "m")
        return f'<path class="{"g" if grid else "k"}" d="{"".join(lines)}"/>{box}{"".join(values)}{below}{beside}'

    def line(self, xs: Values, ys: Values, colour: str) -> str:
        """Through the points, broken where one is not finite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            across = self.left + self.width * self.across.place(xs)
            down = self.top + self.height * (1 - self.up.place(ys))
        path, pen = [], "M"
        for x, y in zip(across.tolist(), down.tolist(), strict=True):
            if math.isfinite(y):
                path.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L" if math.isfinite(y) else "M"
        return f'<path stroke="{colour}" d="{"".join(path)}"/>'

    def map(self, xs: Values, ys: Values, values: Values) -> str:
        """Values as colours between the least and the greatest, grey where one is not finite.

        Args:
            xs: across, of the rows.
            ys: up, of the columns.
            values: ``[rows, columns]``; a pixel shows the nearest of them.
        """
        low, high = np.nanmin(values), np.nanmax(values)
        shares = np.nan_to_num((values - low) / (high - low or 1.0), posinf=0)
        painted = np.where(np.isfinite(values), (254 * shares).round(), 255).astype(np.uint8)
        rows = np.searchsorted((xs[1:] + xs[:-1]) / 2, self.across.cells(round(self.width)))
        columns = np.searchsorted((ys[1:] + ys[:-1]) / 2, self.up.cells(round(self.height)))[::-1]
        return self.image(painted[rows][:, columns].T)

    def image(self, pixels: NDArray[np.uint8]) -> str:
        """Numbers of colours of the palette ``[down, across]`` over the whole frame; 255 is grey."""
        from PIL import Image

        file = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(pixels), "P")
        image.putpalette([*palette().ravel().tolist(), *GREY])
        image.save(file, "png", compress_level=3)
        data = base64.b64encode(file.getvalue()).decode()
        where = f'x="{self.left}" y="{self.top}" width="{self.width}" height="{self.height}"'
        return f'<image {where} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'

    def legend(self, title: str, lines: Sequence[tuple[str, str]]) -> str:
        """Names and colours of lines, in the lower left corner."""
        top, left = self.top + self.height - 15 * len(lines) - 22, self.left + 8
        rows = [
            f'<path stroke="{colour}" d="M{left + 6} {top + 15 * n + 22:.1f}h20"/>'
            f"{_text(left + 32, top + 15 * n + 26, name, 't')}"
            for n, (name, colour) in enumerate(lines)
        ]
        box = f'<rect x="{left}" y="{top:.1f}" width="76" height="{15 * len(lines) + 16}" fill="#fff" opacity=".8"/>'
        return f"{box}{_text(left + 6, top + 12, title, 't')}{''.join(rows)}"

    def note(self, text: str) -> str:
        """In place of everything else."""
        return _text(self.left + self.width / 2, self.top + self.height / 2, text, "m")


def page(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """The whole picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f"{_text(width / 2, 24, title, 'm')}{''.join(parts)}</svg>\n"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape.html(text)}</text>' if text else ""


def _name(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"


def _same(values: Values) -> Values:
    return values


def _power(values: Values) -> Values:
    return np.asarray(10.0**values)


def _lag(values: Values) -> Values:
    """Up to lag 1 as long as a third of a decade."""
    return np.where(values < 1, 0.3 * values, 0.3 + np.log10(np.maximum(values, 1)))


def _lag_back(placed: Values) -> Values:
    return np.where(placed < 0.3, placed / 0.3, 10.0 ** (placed - 0.3))
