"""The page as a browser shows it. STUDY_TEST_CHROMIUM names the browser where ``chromium`` is not on the path."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from analysis.output.page import write_page
from tests.analysis.conftest import StoreBuilder
from tests.analysis.output.test_page import fill, hostile_page, make_page

CHROMIUM = os.environ.get("STUDY_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS = "no-sandbox disable-gpu disable-background-networking disable-component-update disable-sync no-first-run"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path, and STUDY_TEST_CHROMIUM is unset"),
    pytest.mark.long,
    pytest.mark.xdist_group("browser"),
]

# The contrast ratio of WCAG 2.2, of every text against the nearest background that is not clear.
CONTRASTS = """() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(colour).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((rgb(colour)[3] ?? 1) === 1) return colour;
    }
    throw new Error("no background");
  };
  const shown = [...document.body.querySelectorAll("*:not(script):not(svg):not(svg *)")].filter((element) =>
    element.tagName === "BUTTON" || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return shown.map((element) => {
    const [low, high] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
    return [element.outerHTML.slice(0, 80), (high + 0.05) / (low + 0.05)];
  });
}"""

# The glyphs and markers that their own picture lacks, or that are not seen though they are no spaces.
LOST = """all => all.map((use) => use.getAttribute("xlink:href")).filter((name, index) => {
  const path = all[index].closest("svg").getElementById(name.slice(1));
  const box = all[index].getBBox();
  return !path || (path.getAttribute("d") && !box.width && !box.height);
})"""

# How far a box has scrolled to the right, at the first sign of it or after 300 frames.
SCROLLED = """box => new Promise((done) => {
  let frames = 300;
  const look = () => box.scrollLeft > 0 || !frames-- ? done(box.scrollLeft) : requestAnimationFrame(look);
  look();
})"""


@dataclass
class Visit:
    """An open page, and what its opening brought about."""

    page: Page
    address: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, column: int, table: int = 0) -> list[str]:
        cells = self.page.locator("table").nth(table).locator(f"tbody td:nth-child({column + 1})")
        return cells.all_text_contents()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS.split()])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_page(make_page(fill(StoreBuilder(folder / "studies"), interaction=0.002)), folder / "out")[-1]


def open_page(browser: Browser, path: Path, width: int = 1280) -> Visit:
    visit = Visit(browser.new_page(viewport={"width": width, "height": 900}), path.as_uri())
    visit.page.on("console", lambda message: visit.messages.append(f"{message.type}: {message.text}"))
    visit.page.on("pageerror", lambda error: visit.messages.append(str(error)))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.goto(visit.address)
    return visit


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Visit]:
    visit = open_page(browser, report)
    yield visit
    visit.page.close()


def test_it_needs_nothing_else_and_runs_without_complaint(visit: Visit) -> None:
    visit.page.locator("th button").first.click()
    assert visit.messages == []
    assert visit.requests == [visit.address]


def test_headings_are_in_order(visit: Visit) -> None:
    levels = [
        int(tag[1]) for tag in visit.page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(h => h.tagName)")
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_contents_lead_to_the_sections(visit: Visit) -> None:
    for link in visit.page.locator("nav a").all():
        link.click()
        assert visit.page.locator(":target").text_content() == link.text_content()


def test_pictures_are_shown_and_named(visit: Visit) -> None:
    pictures = visit.page.get_by_role("img", name="Accuracy against weight")
    assert pictures.count() == visit.page.locator("figure").count() == 2
    boxes = [picture.bounding_box() for picture in pictures.all()]
    for box in boxes:
        assert box is not None
        assert box["width"] > 500
        assert box["height"] / box["width"] == pytest.approx(4.6 / 6.4, rel=0.01)
    assert visit.page.locator("figure use").count() > 100
    assert visit.page.eval_on_selector_all("figure use", LOST) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_the_window(browser: Browser, report: Path, tmp_path: Path, width: int) -> None:
    for path in (report, write_page(hostile_page(), tmp_path)[-1]):
        visit = open_page(browser, path, width)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        widths = visit.page.eval_on_selector_all(
            "figure svg", "all => all.map(svg => svg.getBoundingClientRect().right)"
        )
        assert widths
        assert max(widths) <= width
        assert visit.messages == []
        visit.page.close()


def test_a_wide_table_scrolls_in_its_own_box(browser: Browser, report: Path) -> None:
    visit = open_page(browser, report, 360)
    box = visit.page.locator(".scroll").first
    inner, outer = box.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert inner > outer
    box.focus()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("ArrowRight")
    assert box.evaluate(SCROLLED) > 0
    title = visit.page.locator("caption .title").first.bounding_box()
    assert title is not None
    assert title["x"] >= 0
    visit.page.close()


def test_numbers_are_sorted_by_value(visit: Visit) -> None:
    heading = visit.page.get_by_role("columnheader", name="measured")
    before = visit.texts(2)
    known = [text for text in before if text != "–"]
    assert len(known) < len(before)
    heading.get_by_role("button", name="Sort by measured").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert visit.texts(2) == sorted(known, key=float) + ["–"] * (len(before) - len(known))
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert visit.texts(2) == sorted(known, key=float, reverse=True) + ["–"] * (len(before) - len(known))


def test_rows_stay_whole_and_one_column_at_a_time_is_marked(visit: Visit) -> None:
    rows = {tuple(row.locator("td").all_text_contents()) for row in visit.page.locator("tbody tr").all()}
    claim, verdict = (visit.page.get_by_role("columnheader", name=name) for name in ("claim", "verdict"))
    for heading in (claim, verdict):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
    assert claim.get_attribute("aria-sort") is None
    assert visit.page.locator("[aria-sort]").count() == 1
    assert visit.texts(5) == sorted(visit.texts(5))
    assert {tuple(row.locator("td").all_text_contents()) for row in visit.page.locator("tbody tr").all()} == rows


def test_small_p_values_and_numbers_among_texts_are_sorted(visit: Visit) -> None:
    effects, anova, cells = 2, 3, 4
    visit.page.locator("table").nth(anova).get_by_role("button", name="Sort by p", exact=True).click()
    p_values = visit.texts(4, anova)
    assert p_values[0] == "< 0.001"
    assert p_values[-1] == "–"
    visit.page.locator("table").nth(cells).get_by_role("button", name="Sort by aux weight").click()
    headings = visit.page.locator("table").nth(cells).locator("th").all_text_contents()
    weights = visit.texts(headings.index("aux weight"), cells)
    assert weights == ["0"] * 4 + ["1"] * 4 + ["3"] + ["10"] * 4 + ["100", "1000"]
    visit.page.locator("table").nth(effects).get_by_role("button", name="Sort by value").click()
    assert visit.texts(1, effects) == ["0.5", "1", "10", "on"]


def test_texts_stand_out(visit: Visit) -> None:
    contrasts = visit.page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [text for text, ratio in contrasts if ratio < 4.5] == []


def test_print_has_no_buttons_and_breaks_no_figure(visit: Visit) -> None:
    first = visit.page.locator("th button").first
    assert first.is_visible()
    visit.page.emulate_media(media="print")
    assert not any(button.is_visible() for button in visit.page.locator("th button").all())
    assert visit.page.locator("th").first.is_visible()
    breaks = "all => [...new Set(all.map(e => getComputedStyle(e).breakInside))]"
    assert visit.page.eval_on_selector_all("figure, table, tr", breaks) == ["avoid"]
    visit.page.set_viewport_size({"width": 680, "height": 900})  # A4 less its margins
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 680


def test_a_script_in_a_name_does_not_run(browser: Browser, tmp_path: Path) -> None:
    visit = open_page(browser, write_page(hostile_page(), tmp_path)[-1])
    assert visit.messages == []
    # What the policy forbids does not run even if it got into the page.
    visit.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert visit.page.evaluate("window.ran") is None
    visit.page.close()
