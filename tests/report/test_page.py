"""The report: whole, escaped, the same bytes twice, and no value of a row."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lossary.report.page import render
from lossary.workbench.study import Study

VOID = {"meta", "link", "br", "img", "rect", "path", "line"}


class Outline(HTMLParser):
    """What a browser would see: open tags, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):  # type: ignore[no-untyped-def]
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # type: ignore[no-untyped-def]
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(study: Study) -> str:
    return render(study)


def test_it_says_what_the_study_says(page: str, study: Study) -> None:
    text = " ".join(Outline(page).text.replace("\u00a0", " ").split())
    for row in study.table:
        assert row.loss in text
        if row.comparison is not None:
            assert row.comparison.sentence in text
            assert str(row.comparison.verdict) in text
    assert study.verdict.split(":")[0] in text
    assert study.reproduce["command"] in text


def test_it_is_well_formed_and_in_order(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    order = ["decision", "evidence", "costs", "losses", "why", "protocol", "again"]
    assert re.findall(r'<h2 id="(\w+)"', page) == order
    ids = [value for key, value in outline.attributes if key == "id"]
    assert len(ids) == len(set(ids))


def test_it_needs_no_network_and_no_script(page: str) -> None:
    outline = Outline(page)
    assert not {"script", "iframe", "object", "img"} & set(outline.tags)
    links = [v for k, v in outline.attributes if k in ("src", "href", "xlink:href")]
    assert links == ["data:,"]
    assert not [k for k, _ in outline.attributes if k.startswith("on")]
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_same_study_gives_the_same_bytes(page: str, study: Study) -> None:
    assert render(study) == page
    assert render(replace(study, verdict="Another one.")) != page


def test_it_is_small(page: str) -> None:
    assert len(page.encode()) < 3_000_000


def test_every_figure_has_a_text_alternative(page: str) -> None:
    figures = re.findall(r"<figure ([^>]*)>", page)
    assert len(figures) == 3
    assert all(re.search(r'aria-label="[^"]{10,}"', f) for f in figures)


def test_what_the_user_wrote_is_escaped(failed: Study) -> None:
    page = render(failed)
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "alert('x')" in outline.text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_loss_that_failed_is_named_with_its_reason(failed: Study) -> None:
    text = Outline(render(failed)).text
    assert "FAILED" in text
    assert "a column is called" in text


def test_a_study_of_the_control_alone_is_a_page(study: Study) -> None:
    control = next(row for row in study.table if row.loss == study.control)
    alone = replace(study, table=(control,), losses=(study.control,))
    page = render(alone)
    assert 'id="evidence"' in page
    assert "Each comparison in words" not in page


def test_no_value_of_a_row_is_shown(study: Study) -> None:
    predictions = {f"{p:.4f}" for p in study.oof[study.control].ravel()}
    shown = set(re.findall(r"\d+\.\d{4}\b", Outline(render(study)).text))
    assert not predictions & shown
