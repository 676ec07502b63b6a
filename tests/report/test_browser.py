"""The report in a real browser: no error, no request, readable without scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api as playwright

from lossary.workbench.study import Study

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    candidates = [os.environ.get("CHROMIUM", ""), *NAMES]
    found = next(filter(None, map(shutil.which, filter(None, candidates))), None)
    if found is None:
        pytest.fail(
            "no Chromium found: `make browser` installs one, CHROMIUM names one"
        )
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.to_html(tmp_path_factory.mktemp("report") / "report.html")


def opened(browser: Any, report: Path, **settings: Any) -> tuple[Any, list[str]]:
    """Open a file, and note whatever it complains about or asks for."""
    page = browser.new_page(**settings)
    noted: list[str] = []
    page.on("console", lambda message: noted.append(message.text))
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("request", lambda request: noted.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    noted.remove(report.as_uri())
    return page, noted


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_report_opens(
    browser: Any, report: Path, study: Study, scheme: str, scripts: bool
) -> None:
    page, noted = opened(
        browser, report, color_scheme=scheme, java_script_enabled=scripts
    )
    # The empty icon keeps browsers from asking a server for one.
    assert [url for url in noted if url != "data:,"] == []
    assert study.winner in page.locator("h1").inner_text()
    assert page.locator("table").first.locator("tbody tr").count() == len(study.table)
    assert page.locator("figure svg").count() == 3
    page.locator("summary").first.click()
    assert page.locator("details li").first.is_visible()
    page.close()


def test_a_request_and_an_error_would_be_noted(browser: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<img src='missing.png'><script>nothing()</script>")
    _, noted = opened(browser, broken)
    assert any("missing.png" in text for text in noted)
    assert any("nothing is not defined" in text for text in noted)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(browser: Any, report: Path, width: int) -> None:
    page, _ = opened(browser, report, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_ink_is_told_from_paper_in_the_dark(browser: Any, report: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page, _ = opened(browser, report, color_scheme=scheme)
        colours.append(
            page.evaluate(
                "[getComputedStyle(document.body).backgroundColor,"
                " getComputedStyle(document.querySelector('svg text')).fill]"
            )
        )
        page.close()
    assert len({paper for paper, _ in colours}) == 2
    assert len({ink for _, ink in colours}) == 2
