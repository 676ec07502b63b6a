"""Fused kernels beside NumPy, PyTorch, JAX, TensorFlow and scikit-learn, in one run.

    python benchmarks/kernels.py [--quick] [--only cross_entropy] [--peers torch,jax]

The unit is the floor: reading and writing the same bytes once, ``np.add(x, y, out=z)``
on one thread; beside it stands the same addition split over the threads, the true
limit. A peer's figure is its time in units of ours; ``~`` says that it lacks the loss
and was given the formula. Every answer of a peer, value and gradient, is compared with
ours before it is timed. Competitors take turns, and medians are compared, so that
whatever else the machine does hits all of them; they have the same number of threads
(the cores that the process may use: ``taskset -c 0,1``). Results are written as they
come, under the processor's name.
"""

from __future__ import annotations

import argparse
import os
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from speed import floors, memory, ours, peers
from speed.cases import CURVED, VALUE, Case, drawn, others, pointwise, rows
from speed.results import Results, processor, rows_of, summary
from speed.targets import LARGE
from speed.tasks import agree, first_answer, measured

from lossary.kernels import threads

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, LARGE)
FEW_SIZES = (10_000, LARGE)
HUGE, HUGE_SIZE = ("squared_error", "binary_cross_entropy"), 100_000_000
"""A few losses are measured at one more size, where there is memory for everybody."""

QUICK_SIZES = (10_000, 1_000_000)


def _roomy() -> bool:
    try:
        found = re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    return found is not None and int(found[1]) * 1024 > 120 * HUGE_SIZE


def pointwise_cases(sizes: tuple[int, ...] | None) -> Iterator[tuple[Case, int]]:
    """Yield every pointwise loss: all sizes in float32, few of the rest."""
    for dtype, what, usual in (
        ("float32", VALUE, SIZES),
        ("float32", CURVED, FEW_SIZES),
        ("float64", VALUE, FEW_SIZES),
        ("float64", CURVED, FEW_SIZES),
    ):
        for case in pointwise(dtype, what):
            for size in sizes or usual:
                yield case, size
            if not sizes and usual is SIZES and case.name in HUGE and _roomy():
                yield case, HUGE_SIZE


def rows_cases(sizes: tuple[int, ...] | None) -> Iterator[tuple[Case, int]]:
    """Yield class losses."""
    for dtype, what in (
        ("float32", VALUE), ("float32", CURVED), ("float64", VALUE),
    ):  # fmt: skip
        for case in rows(dtype, what):
            for size in sizes or FEW_SIZES:
                yield case, size


def others_cases(sizes: tuple[int, ...] | None) -> Iterator[tuple[Case, int]]:
    """Yield losses of images, and of embeddings: there a batch is 2048 at most."""
    for dtype in ("float32", "float64"):
        for case in others(dtype):
            for size in sizes or (LARGE,):
                pairs = case.loss.structure.name == "pairwise"
                yield case, min(size, 2048 * case.shape[0]) if pairs else size


SECTIONS = {"pointwise": pointwise_cases, "rows": rows_cases, "others": others_cases}


def measure(case: Case, names: list[str], results: Results, budget: float) -> None:
    """Measure one case at its size, and keep what was found."""
    y, z = drawn(case)
    first = {"lossary": ours.loaded(replace(case, items=0))}
    mine = ours.task(case, y, z)
    _, answer = first_answer(mine)
    competitors = {"lossary": mine, **floors.tasks(case)}
    for name, task in peers.tasks(names, case, y, z, threads.count()).items():
        try:
            first[name], theirs = first_answer(task)
        except Exception as error:
            results.say(f"{case.name}: {name} fails: {str(error).splitlines()[0]:.90}")
            continue
        if agree(answer, theirs, case.dtype):
            competitors[name] = task
        else:
            results.say(f"{case.name}: {name} answers otherwise; it is not timed")
    seconds = measured(competitors, budget)
    written = {name: task.written for name, task in competitors.items()}
    found = rows_of(case, seconds, written, first)
    results.add(found)
    results.show(found)


def show_memory(names: list[str], results: Results, items: int) -> None:
    """Print the peak memory of each competitor, in gradients."""
    results.say(f"\nPeak memory beyond the inputs, {items:,} float32, in gradients")
    number = threads.count()
    for name in memory.CASES:
        case = memory.case_named(name).at(1_000)
        data, who = drawn(case), [("lossary",)]
        for peer in names:
            who += [(task, peer) for task in peers.tasks([peer], case, *data, number)]
        for competitor in who:
            found = memory.measured(name, items, number, *competitor)
            results.say(f"  {name:32}{competitor[0]:18}{found / (4 * items):8.2f}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, no memory")
    parser.add_argument("--sizes", default="", help="numbers of items, by commas")
    parser.add_argument("--only", default="", help="losses whose name has this in it")
    parser.add_argument("--sections", default=",".join([*SECTIONS, "memory"]))
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="or none: ''")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds a line")
    here = Path(__file__).parent
    parser.add_argument("--results", type=Path, default=here / "results")
    return parser.parse_args()


def main() -> None:
    """Print all ratios; a missed target is marked, and is not an error."""
    options = arguments()
    warnings.simplefilter("ignore")
    start = time.monotonic()
    names = peers.installed([x for x in options.peers.split(",") if x])
    sizes: Any = tuple(int(float(x)) for x in options.sizes.split(",") if x)
    sizes = sizes or (QUICK_SIZES if options.quick else None)
    results = Results(options.results)
    results.say(f"{processor()}, {threads.count()} threads, NumPy {np.__version__}")
    results.say(peers.versions(names))
    wanted = options.sections.split(",")
    heading = ""
    for section in (name for name in SECTIONS if name in wanted):
        for case, size in SECTIONS[section](sizes):
            if options.only not in case.name or case.dtype not in options.dtypes:
                continue
            if heading != (heading := f"{section}: {case.what}, {case.dtype}"):
                results.say(f"\n{heading}")
            try:
                measure(case.at(size), names, results, options.budget)
            except Exception as error:  # the others are worth their time
                results.missed.append(f"{case.name}, {case.dtype}, {size:,}: {error!r}")
                results.say(results.missed[-1])
    if "memory" in wanted and not options.quick and memory.available():
        show_memory(names, results, LARGE)
    summary(results)
    draw(results)
    results.say(f"\n{time.monotonic() - start:.0f} s")


def draw(results: Results) -> None:
    """Write pictures where Altair is installed."""
    try:
        from speed import plots
    except ImportError:
        results.say("No pictures: they need lossary[compare]")
        return
    for path in plots.draw(results.rows, results.folder, results.text.stem):
        results.say(f"Written: {path.name}")


if __name__ == "__main__":
    main()
