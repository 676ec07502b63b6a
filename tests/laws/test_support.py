"""docs/support.md says what runs today, no more and no less."""

from __future__ import annotations

import pytest

from laws.support import COLUMNS, PAGE, refusals, run

LINES = PAGE.read_text().splitlines()


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_page_says_what_ran(column):
    table = [[c.strip(" `") for c in line.split("|")[1:-1]] for line in LINES]
    head = next(row for row in table if column.name in row)
    at = head.index(column.name)
    said = {row[0]: row[at] for row in table if len(row) == len(head) and row[0]}
    letters, refused = run(column)
    assert {name: said.get(name) for name in letters} == letters
    told = [line for line in LINES if line.startswith(f"- *{column.name},")]
    assert told == refusals(column.name, refused)
