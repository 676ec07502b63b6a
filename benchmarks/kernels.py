"""Fused kernels beside NumPy, PyTorch, JAX, TensorFlow and scikit-learn, in one run.

    python benchmarks/kernels.py [--quick] [--only cross_entropy] [--peers torch,jax]

The unit is the floor: reading and writing the same bytes once, ``np.add(x, y, out=z)``
on one thread; beside it stands the same addition split over the threads, the true
limit. Every answer of a peer, value and gradient, is compared with ours before it is
timed. Competitors take turns, and medians are compared, so that whatever else the
machine does hits all of them; they have the same cores (those that the process may
use: ``taskset -c 0,1``). Results are written as they come, under the processor's name.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from speed import floors, memory, ours, peers
from speed.cases import (
    CURVED,
    VALUE,
    Case,
    beside,
    drawn,
    others,
    pointwise,
    rows,
)
from speed.results import Results, processor, rows_of, short, summary
from speed.targets import LARGE
from speed.tasks import agree, first_answer, measured

from lossary.kernels import threads

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, LARGE)
FEW_SIZES = (10_000, LARGE)
HUGE = 100_000_000
"""One more size, of value + gradient in float32, where there is memory for all."""

QUICK_SIZES = (10_000, 1_000_000)

AT_SIZES = {"compile": (10_000, 1_000_000, LARGE)}
"""Peers that take seconds to compile a size, and those at which they are measured."""
AT_HUGE = ("torch", "jax")
"""Peers that are measured at the huge size: the others take a minute a loss."""

MOST_PAIRS = 2048
"""Rows of embeddings at most: their losses look at all pairs."""

LEGEND = f"""\
floor    our time in units of one np.add over the same bytes, on one thread (losses of
         embeddings: of their two matrix products); split: that addition on all threads
NumPy... a peer's time in units of ours: above 1 ours is faster
tensors  lossary itself, called on PyTorch's tensors, in units of lossary on NumPy's
~        the peer lacks the loss, and was given its formula
!        misses its target: the end says by how much and why

Value + gradient is of the mean, gradient + curvature of each item. The floor,
scikit-learn and, from 2 k items on, ours write into arrays that are there; the others
make new ones, as their interfaces do. Value + gradient of pointwise losses in float32
is at 100 items and more, up to {short(HUGE)} (PyTorch and JAX alone); all else is at
10 k and {short(LARGE)}. torch.compile compiles every shape: in float32, at 10 k, 1 M
and {short(LARGE)}. Embeddings are {MOST_PAIRS} rows, images {short(LARGE)} items."""


def present(names: list[str], size: int) -> list[str]:
    """Return the peers that are measured at a size, unless sizes are asked for."""
    if size == HUGE:
        return [name for name in names if name in AT_HUGE]
    return [name for name in names if size in AT_SIZES.get(name, (size,))]


def _roomy() -> bool:
    try:
        found = re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    return found is not None and int(found[1]) * 1024 > 100 * HUGE


def pointwise_cases() -> Iterator[tuple[Case, tuple[int, ...]]]:
    """Yield every pointwise loss: all sizes in float32, few of the rest."""
    sizes = (*SIZES, HUGE) if _roomy() else SIZES
    yield from ((case, sizes) for case in pointwise("float32"))
    for dtype, what in (
        ("float32", CURVED), ("float64", VALUE), ("float64", CURVED),
    ):  # fmt: skip
        yield from ((case, FEW_SIZES) for case in pointwise(dtype, what))


def beside_cases() -> Iterator[tuple[Case, tuple[int, ...]]]:
    """Yield two pointwise losses with weights, and with a mask."""
    yield from ((case, FEW_SIZES) for case in beside("float32"))


def rows_cases() -> Iterator[tuple[Case, tuple[int, ...]]]:
    """Yield class losses."""
    for dtype, what in (
        ("float32", VALUE), ("float32", CURVED), ("float64", VALUE),
    ):  # fmt: skip
        yield from ((case, FEW_SIZES) for case in rows(dtype, what))


def others_cases() -> Iterator[tuple[Case, tuple[int, ...]]]:
    """Yield losses of images, and of embeddings."""
    for dtype in ("float32", "float64"):
        yield from ((case, (LARGE,)) for case in others(dtype))


SECTIONS = {
    "pointwise": pointwise_cases,
    "weights": beside_cases,
    "rows": rows_cases,
    "others": others_cases,
}

PROGRAMS = ("first_call", "small", "linear_cross_entropy", "contrastive")
"""Benchmarks of their own, beside this file: their output becomes a part of ours."""


def sized(case: Case, size: int) -> Case:
    """Return a case at a size, or less where it grows with the square."""
    pairs = case.loss.structure.name == "pairwise"
    return case.at(min(size, MOST_PAIRS * case.shape[0]) if pairs else size)


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
            why = peers.OTHERWISE.get(
                (name, case.loss.name, case.what), "it answers otherwise"
            )
            results.say(f"{case.name}: {name} is not timed: {why}")
    seconds = measured(competitors, budget)
    written = {name: task.written for name, task in competitors.items()}
    found = rows_of(case, seconds, written, first)
    results.add(found)
    results.show(found)


def show_memory(names: list[str], results: Results, items: int) -> None:
    """Print the peak memory of each competitor, in gradients."""
    results.say(
        f"\nPeak memory beyond the inputs, {items:,} float32, in gradients: who needs "
        "nothing else stands at 1"
    )
    number = threads.count()
    for name in memory.CASES:
        case = memory.case_named(name).at(1_000)
        data, who = drawn(case), [["lossary"]]
        for peer in names:
            who += [[task, peer] for task in peers.tasks([peer], case, *data, number)]
        for competitor in who:
            found = memory.measured(name, items, number, *competitor)
            results.say(f"  {name:32}{competitor[0]:18}{found / (4 * items):8.2f}")


def run_programs(results: Results) -> None:
    """Run the benchmarks that are not a kernel beside peers; keep what they print."""
    for name in PROGRAMS:
        results.say(f"\n{name}.py")
        command = [sys.executable, "-u", str(Path(__file__).with_name(f"{name}.py"))]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as ran:
            for line in ran.stdout or ():
                results.say(line.rstrip())
        if ran.returncode:
            results.failed.append(f"{name}.py ends with {ran.returncode}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two sizes, no memory, no programs"
    )
    parser.add_argument("--sizes", default="", help="numbers of items, by commas")
    parser.add_argument("--only", default="", help="losses whose name has this in it")
    parser.add_argument(
        "--sections", default=",".join([*SECTIONS, "memory", "programs"])
    )
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="or none: ''")
    parser.add_argument(
        "--budget", type=float, default=2.0, help="seconds a line; three turns at least"
    )
    here = Path(__file__).parent
    parser.add_argument("--results", type=Path, default=here / "results")
    return parser.parse_args()


def main() -> None:
    """Print all ratios; a missed target is marked, and is not an error."""
    options = arguments()
    warnings.simplefilter("ignore")
    start = time.monotonic()
    if hasattr(os, "sched_setaffinity"):  # JAX asks for no number of threads
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: threads.count()])
    asked = options.peers.split(",")
    names = peers.installed([name for name in peers.PEERS if name in asked])
    results = Results(options.results)
    results.say(f"{processor()}, {threads.count()} threads, NumPy {np.__version__}")
    results.say(f"{peers.versions(names)}\n\n{LEGEND}")
    with TemporaryDirectory() as kept:  # first calls find nothing on disk
        os.environ["LOSSARY_CACHE_DIR"] = str(Path(kept, "lossary"))
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(kept, "inductor"))
        measure_all(options, names, results)
        if "memory" in options.sections and not options.quick and memory.available():
            show_memory(names, results, LARGE)
        if "programs" in options.sections and not options.quick:
            run_programs(results)
    summary(results)
    draw(results)
    results.say(f"\n{time.monotonic() - start:.0f} s")


def measure_all(
    options: argparse.Namespace, names: list[str], results: Results
) -> None:
    """Measure what is asked for."""
    asked = tuple(int(float(x)) for x in options.sizes.split(",") if x)
    asked = asked or (QUICK_SIZES if options.quick else ())
    heading = ""
    for section in (x for x in SECTIONS if x in options.sections.split(",")):
        for case, sizes in SECTIONS[section]():
            if options.only not in case.name or case.dtype not in options.dtypes:
                continue
            if heading != (heading := f"{section}: {case.what}, {case.dtype}"):
                results.head(heading, peers.competitors(names))
            for size in asked or sizes:
                who = names if asked else present(names, size)
                try:
                    measure(sized(case, size), who, results, options.budget)
                except Exception as error:  # the others are worth their time
                    where = f"{case.name}, {case.what}, {case.dtype}, {size:,}"
                    results.failed.append(f"{where}: {error!r}")
                    results.say(results.failed[-1])


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
