"""Draw the figures of the documentation, from the library itself.

Run ``python docs/figures.py``; the pictures land in ``docs/images``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import vl_convert

import lossary as ls

LOSSES = (ls.squared_error, ls.absolute_error, ls.huber, ls.pinball(tau=0.8))


def draw(folder: Path) -> Path:
    """Write the README's picture: four losses and how hard each of them pulls."""
    from lossary.report.plots import loss_chart

    chart = loss_chart(LOSSES).properties(background="white")
    file = folder / "losses.svg"
    file.write_text(vl_convert.vegalite_to_svg(chart.to_dict()), encoding="utf-8")
    return file


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "images")
