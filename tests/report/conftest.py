"""A small real study, and the same with everything in it that may go wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

import lossary as ls
from lossary.workbench.study import Study

HOSTILE = "<script>alert('x')</script>&\"<b>"


@pytest.fixture(scope="session")
def study() -> Study:
    """Compare on embedded data, as small as it gets."""
    return ls.compare(
        "diabetes",
        metric="mape",
        model="linear",
        losses=["absolute_percentage_error", "absolute_error"],
        folds=3,
        repeats=1,
        n_jobs=1,
    )


@pytest.fixture(scope="session")
def failed(study: Study) -> Study:
    """The same, where one loss failed with a message that is HTML."""
    last = study.table[-1]
    row = replace(
        last,
        loss=HOSTILE,
        mean=None,
        se_corrected=None,
        comparison=None,
        failures=(f"a column is called {HOSTILE}",),
    )
    return replace(
        study,
        table=(*study.table, row),
        losses=(*study.losses, HOSTILE),
        definitions={**study.definitions, HOSTILE: ls.huber},
        data={**study.data, "name": HOSTILE, "target": HOSTILE},
        reproduce={"command": HOSTILE, "python": HOSTILE},
    )
