"""Plots of eight dots a character, for the terminal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Unicode numbers the dots of a cell column by column, with the lowest pair last.
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BLANK = 0x2800


def plot(x: Array, lines: list[Array], width: int = 34, height: int = 8) -> list[str]:
    """Draw lines over `x`, with the largest and the smallest value on the left.

    Values that are not finite are left out.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 51)
    >>> plot(x, [abs(x)], width=4, height=2)
    ['1 ┤⠱⡀⠀⡜', '0 ┤⠀⠱⠜⠀']
    """
    finite = np.concatenate([y[np.isfinite(y)] for y in lines])
    low, high = float(finite.min()), float(finite.max())
    top = (high - low) or 1.0
    cells = np.zeros((height * 4, width * 2), dtype=bool)
    columns = np.linspace(x[0], x[-1], width * 2)
    for y in lines:
        level = np.interp(columns, x, y)
        kept = np.flatnonzero(np.isfinite(level))
        rows = ((high - level[kept]) / top * (height * 4 - 1)).round().astype(int)
        _draw(cells, kept, rows)
    return _labelled(_characters(cells), low, high)


def _draw(cells: NDArray[np.bool_], columns: NDArray[np.intp], rows: Array) -> None:
    """Set the dots of a line; steep parts are filled in from row to row."""
    previous = None
    for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
        start = row if previous is None else previous + np.sign(row - previous)
        cells[min(start, row) : max(start, row) + 1, column] = True
        previous = row


def _characters(cells: NDArray[np.bool_]) -> list[str]:
    height, width = cells.shape[0] // 4, cells.shape[1] // 2
    blocks = cells.reshape(height, 4, width, 2)
    codes = np.einsum("hrwc,rc->hw", blocks, _DOTS) + _BLANK
    return ["".join(map(chr, row)) for row in codes]


def _labelled(rows: list[str], low: float, high: float) -> list[str]:
    noise = (high - low) / 1000
    top, bottom = (f"{v if abs(v) > noise else 0:.3g}" for v in (high, low))
    labels = [top, *[""] * (len(rows) - 2), bottom]
    wide = max(map(len, labels))
    return [f"{label:>{wide}} ┤{row}" for label, row in zip(labels, rows, strict=True)]
