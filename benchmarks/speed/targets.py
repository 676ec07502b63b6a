"""What was promised, as ratios, and why a promise is not kept."""

from __future__ import annotations

from fnmatch import fnmatchcase

from speed.cases import CURVED, VALUE, Case

LARGE = 8_000_000
"""Items at which time is compared with the floor and with the promises by name."""

AHEAD_FROM = 10_000
"""Items from which every peer is to be slower."""

FLOOR = {
    ("float32", True): 1.3,
    ("float32", False): 2.0,
    ("float64", True): 1.3,
    ("float64", False): 3.0,
}
"""By dtype, and whether a loss is arithmetic: the most that may be taken of a floor."""

BY_NAME = {
    ("binary_cross_entropy", "PyTorch"): 4.0,
    ("cross_entropy, 1000 classes", "PyTorch"): 4.0,
    ("binary_cross_entropy", "scikit-learn"): 15.0,
}
"""How many times slower a peer is to be: value + gradient, large, in float32."""

CALL = "at this size the call itself, 5 to 60 us in Python, takes as long"
BOUND = "bound by instructions, not by memory"

REASONS: dict[tuple[str, str, str, str], str] = {
    ("siglip*", "*", "*", "*"): "the formula of a pair is array code, on one thread",
    ("info_nce*", "*", "*", "*"): "the steps between its products are array code",
    ("*", CURVED, "*", "scikit-learn"): f"as fast over the same bytes; {CALL}",
    ("*", "*", "*", "scikit-learn"): CALL,
    ("*", "*", "*", "NumPy"): CALL,
    ("cross_entropy, 1000 *", "*", "*", "PyTorch"): "it takes 3.7 of the floor itself",
    ("*", "*", "*", "PyTorch"): CALL,
    ("*, weights", "*", "*", "floor"): "weights are read twice: their sum comes first",
    ("cross_entropy, 2 *", "*", "*", "floor"): f"{BOUND}: three functions for 16 bytes",
    ("focal, *", "*", "*", "floor"): f"{BOUND}: a formula for a row of few classes",
    (
        "*smoothed*",
        "*",
        "*",
        "floor",
    ): f"{BOUND}: a target is made of every class, twice",
    ("kl_divergence*", "*", "*", "floor"): f"{BOUND}: two functions an item",
    ("*", "*", "*", "floor"): BOUND,
}
"""Why a promise is not kept, as far as it was found.

The key is the case's name, what is computed, the dtype, and what it is compared with:
``"floor"`` or a peer. Each may be a pattern (``"cross_entropy*"``, ``"*"``); the first
that fits is printed beside the miss.
"""


def of_floor(case: Case) -> float | None:
    """Return the promised ratio to the floor."""
    if case.items < LARGE // 2 or case.floor == "2 products":
        return None
    return FLOOR[case.dtype, case.arithmetic]


def of_peer(case: Case, peer: str, written: bool) -> float | None:
    """Return how many times slower a peer is promised to be."""
    if case.items < AHEAD_FROM or (written and peer != "JAX"):
        return None
    named = case.what == VALUE and case.dtype == "float32" and case.items >= LARGE // 2
    return BY_NAME.get((case.name, peer), 1.0) if named else 1.0


def reason(loss: str, what: str, dtype: str, against: str) -> str:
    """Return why a promise is not kept, or "" where nobody has found out."""
    found = (loss, what, dtype, against)
    for patterns, text in REASONS.items():
        if all(map(fnmatchcase, found, patterns)):
            return text
    return ""
