"""The adapters of the boosters, against the last two release lines of each.

    nox                         all of them
    nox -s "lightgbm(4.6)"      one; words after -- go to pytest

A session makes its own environment: lossary, what the tests need at the versions of
``constraints.txt``, and that release of the booster.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"

RELEASES = {
    "lightgbm": ("4.6", "4.7"),
    "xgboost": ("2.1", "3.2"),
    "catboost": ("1.2.8", "1.2.10"),
}
PACKAGES = {"xgboost": "xgboost-cpu"}
"""Packages that are not called as what they hold: without graphics cards, here."""

COMPANIONS = {
    ("catboost", "1.2.8"): ("scikit-learn<1.7",),
    ("xgboost", "2.1"): ("scikit-learn<1.8",),
}
"""What a release needs older than ``constraints.txt`` has it: scikit-learn that does
not yet ask of an estimator what theirs lack.
"""

NEEDED = (
    "hypothesis", "joblib", "llvmlite", "pandas", "pytest", "scikit-learn", "scipy",
)  # fmt: skip


def against(session: nox.Session, booster: str, release: str) -> None:
    """Run the tests of one adapter with one release of its booster."""
    older = COMPANIONS.get((booster, release), ())
    free = {PACKAGES.get(name, name) for name in RELEASES}
    free |= {package.split("<")[0] for package in older}
    pinned = Path("constraints.txt").read_text().splitlines()
    others = Path(session.create_tmp()) / "constraints.txt"
    others.write_text("\n".join([p for p in pinned if p.split("==")[0] not in free]))
    package = f"{PACKAGES.get(booster, booster)}=={release}.*"
    session.install("-c", str(others), "-e", ".", package, *NEEDED, *older)
    tests = sorted(map(str, Path("tests/frameworks").glob(f"test_{booster}*.py")))
    options = session.posargs or ["--quiet"]
    session.run("pytest", *options, *tests, env={"OMP_NUM_THREADS": "1"})


@nox.session
@nox.parametrize("release", RELEASES["lightgbm"], ids=RELEASES["lightgbm"])
def lightgbm(session: nox.Session, release: str) -> None:
    """Test the adapter of LightGBM."""
    against(session, "lightgbm", release)


@nox.session
@nox.parametrize("release", RELEASES["xgboost"], ids=RELEASES["xgboost"])
def xgboost(session: nox.Session, release: str) -> None:
    """Test the adapter of XGBoost."""
    against(session, "xgboost", release)


@nox.session
@nox.parametrize("release", RELEASES["catboost"], ids=RELEASES["catboost"])
def catboost(session: nox.Session, release: str) -> None:
    """Test the adapter of CatBoost."""
    against(session, "catboost", release)
