"""The book: built with warnings as errors, then opened in headless Chromium from disk."""

import os
import shutil

import pytest
from conftest import ROOT
from playwright.sync_api import sync_playwright

from thesis_utils import __version__

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def html(shell, tmp_path_factory):
    """The built pages' folder."""
    out = tmp_path_factory.mktemp("book")
    shell(["jupyter-book", "build", "-W", "--keep-going", "--path-output", str(out), "book"])
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: install it, or name one in $CHROMIUM, to test the pages in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def test_every_chapter_is_a_page(html):
    pages = {path.relative_to(html).as_posix() for path in html.rglob("*.html")}
    chapters = {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    prose = {"index.html", "intro.html", "method.html", "recipe.html", "numbers.html", "glossary.html"}
    assert chapters | prose <= pages


def test_references_are_by_author_and_year_and_lead_to_their_papers(html):
    page = (html / "references.html").read_text()
    assert "Hendrycks and Gimpel, 2017" in page and "Liu et al., 2020" in page and "Liu et al., 2024" in page
    assert 'href="https://arxiv.org/abs/1610.02136"' in page and 'href="https://doi.org/10.2307/2531595"' in page


def test_a_page_says_its_version_and_has_no_button_that_leads_nowhere(html):
    page = (html / "method.html").read_text()
    assert f"Version {__version__}." in page and "Last updated on" in page
    assert "btn-source-repository-button" not in page and "btn-source-issues-button" not in page


def test_bars_and_warnings_leave_no_litter_and_every_guarded_sentence_holds(html):
    for path in html.rglob("*.html"):
        text = path.read_text()
        for litter in ("it/s]", "images/s]", "Traceback", "Warning:", "No longer so with these runs"):
            assert litter not in text, (path, litter)


def test_pages_in_a_browser(html, browser):
    """Every figure drawn, every table filled, every formula set, no console error, no request leaves the disk."""
    figures = tables = formulas = 0
    for path in sorted(html.rglob("*.html")):
        if path.parent.name.startswith("_"):
            continue
        page, errors, requests = browser.new_page(viewport={"width": 1280, "height": 1000}), [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        page.wait_for_timeout(300)  # index.html leads on to the first page
        page.wait_for_function("!document.querySelector('.math') || document.querySelector('mjx-container')")
        outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
        assert not outside and not errors, (path.name, outside, errors)
        sizes = page.eval_on_selector_all("main img", "images => images.map(i => i.naturalWidth)")
        assert all(sizes), path.name
        cells = page.eval_on_selector_all("main table tbody td", "cells => cells.map(c => c.textContent.trim())")
        assert all(cells) and "nan" not in cells, path.name
        cut = page.evaluate(
            "[...document.querySelectorAll('main table')].filter(t =>"
            " getComputedStyle(t.parentElement).overflowX != 'auto' && t.getBoundingClientRect().right >"
            " t.closest('article').getBoundingClientRect().right + 1).length"
        )
        assert not cut, (path.name, f"{cut} tables are wider than the page")
        cut = page.eval_on_selector_all(
            "main .highlight pre",
            "cells => cells.filter(c => !c.closest('details')).filter(c => c.scrollWidth > c.clientWidth)"
            ".map(c => c.innerText.slice(0, 60))",
        )
        assert not cut, (path.name, "code cut off at the page's edge", cut)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (path.name, f"{wide} pixels wider than the window")
        figures += len(sizes)
        tables += page.evaluate("document.querySelectorAll('main table').length")
        formulas += page.evaluate("document.querySelectorAll('mjx-container').length")
        page.close()
    assert figures >= 8 and tables >= 12 and formulas >= 10


def test_the_slider_moves_picture_and_score(html, browser):
    """On the chapter about aliasing; without scripts there is the picture as it is, and no slider."""
    address = (html / "notebooks" / "09_aliasing.html").as_uri()
    page, said, pictures = browser.new_page(), [], set()
    page.goto(address)
    for place in ("0", "10", "20"):
        page.locator("#sharpen input").fill(place)
        said.append(page.locator("#sharpen output").inner_text())
        pictures.add(page.locator("#sharpen img").first.get_attribute("src"))
    assert [text.split()[0] for text in said] == ["Blurred", "As", "Sharpened"] and len(pictures) == 3
    still = browser.new_context(java_script_enabled=False).new_page()
    still.goto(address)
    assert still.locator("#sharpen output").inner_text() == said[1]
    assert not still.locator("#sharpen input").is_visible()


def test_in_the_dark_tables_are_light_on_dark(html, browser):
    page = browser.new_context(color_scheme="dark").new_page()
    page.goto((html / "intro.html").as_uri())
    light = page.evaluate("""() => {
        const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0) / 3
        const opaque = colour => !/, 0\\)$|transparent/.test(colour)
        return [...document.querySelectorAll("main table caption, main table td")].map(cell => {
            let ground = cell
            while (!opaque(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement
            return [light(getComputedStyle(cell).color), light(getComputedStyle(ground).backgroundColor)]
        })
    }""")
    assert len(light) > 10 and all(text > 120 and ground < 60 for text, ground in light), light
