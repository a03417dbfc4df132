"""The report's page in a real browser: filters, colours, panels, widths, and that nothing leaves or breaks it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from report_support import MODELS, make_run, score

from urbanvlm.report import make_report
from urbanvlm.report.comparison import compare_runs
from urbanvlm.run_folder import RunFolder

pytestmark = pytest.mark.processes

ATTACKS = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    '" onmouseover="window.hacked = 3" x="',
    "]]><!-- <style>*{display:none}</style>",
    "javascript:window.hacked=4",
    "\u202egnp.exe \u2028 \u0000 \ufffe",
    "{{7*7}} ${7*7} <svg/onload=window.hacked=5>",
    "<!--<script>",
    "https://example.org/a.png",
)
QUESTION = f"Does it hold? {ATTACKS[0]} {ATTACKS[1]} <b>win</b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("missing: chromium")
    with sync_playwright() as started:
        # Root, as in a container, has no sandbox; what it opens here is our own file.
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    made = make_run(
        tmp_path_factory.mktemp("runs"),
        question=QUESTION,
        images=("real", "blank"),
        said=(*ATTACKS, "no", ""),
        aside=ATTACKS[1],
    )
    make_report(made)
    return made


@pytest.fixture(scope="module")
def compared(run: RunFolder) -> Path:
    folder, _ = compare_runs([run, score(make_run(run.path.parent, models=("llava",), seed=1))])
    return folder.page


@dataclass
class Visit:
    """A page and all that it said and asked for since it was opened."""

    page: Page
    trouble: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())


class Open:
    """Opens a file as a reader does, offline; what goes wrong fails the test at its end."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.visits: list[Visit] = []

    def __call__(self, path: Path, *, width: int = 1280, scheme: str = "light", script: bool = True) -> Visit:
        context = self.browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, java_script_enabled=script
        )
        context.set_default_timeout(60_000)
        visit = Visit(context.new_page())
        note = visit.trouble.append
        visit.page.on("console", lambda message: note(f"console: {message.text}"))
        visit.page.on("pageerror", lambda error: note(f"error: {error}"))
        visit.page.on("dialog", lambda dialog: note(f"dialog: {dialog.message}"))
        visit.page.on(
            "request", lambda sent: sent.url.startswith(("data:", path.as_uri())) or note(f"request: {sent.url[:200]}")
        )
        visit.page.goto(path.as_uri())
        self.visits.append(visit)
        return visit


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    opener = Open(browser)
    yield opener
    trouble = [line for visit in opener.visits for line in visit.trouble]
    for visit in opener.visits:
        visit.page.context.close()
    assert trouble == []


def gallery(run: RunFolder) -> dict[str, list[dict[str, str]]]:
    text = run.page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', text, re.S)
    assert found
    tree = json.loads(found.group(1))
    assert isinstance(tree, dict)
    return tree


def wrong(card: dict[str, object], **wanted: str) -> bool:
    replies = card["replies"]
    assert isinstance(replies, list)
    return any(
        reply["verdict"] != "right" and all(reply[key] == value for key, value in wanted.items()) for reply in replies
    )


# ---- filters --------------------------------------------------------------------------------------------------------


def test_filters_show_what_they_say(run: RunFolder, opened: Open) -> None:
    visit, cards = opened(run.page), gallery(run)["cards"]
    assert re.match(rf"24 of {len(cards)} questions shown", visit.text("#gallery-count"))
    assert visit.count(".card") == 24

    visit.page.select_option("#gallery-model", "llava")
    visit.page.select_option("#gallery-phase", "after")
    expected = [card for card in cards if wrong(card, model="llava", phase="after")]
    assert 0 < len(expected) < len(cards)
    assert f"of {len(expected)} question" in visit.text("#gallery-count")
    for card in visit.page.locator(".card").all():
        marked = card.locator("li:not(.other) .who").all_inner_texts()
        assert marked == ["llava after"]

    visit.page.select_option("#gallery-subtype", "count")
    fewer = [card for card in expected if card["subtype"] == "count"]
    assert visit.count(".card") == len(fewer)
    assert all(text.startswith("count") for text in visit.page.locator(".card .kind").all_inner_texts())

    visit.page.click("button[type=reset]")
    # Not wait_for_function: where it has to look twice, it evaluates text in the page, which the page's policy forbids.
    expect(visit.page.locator(".card")).to_have_count(24)
    assert visit.page.input_value("#gallery-model") == ""


def test_the_kind_of_answer_is_a_filter_too(run: RunFolder, opened: Open) -> None:
    visit, cards = opened(run.page), gallery(run)["cards"]
    visit.page.select_option("#gallery-kind", "near")
    expected = [card for card in cards if wrong(card, verdict="near")]
    assert f"of {len(expected)} question" in visit.text("#gallery-count")
    subtypes = {text.split(" ")[0] for text in visit.page.locator(".card .kind").all_inner_texts()}
    assert subtypes <= {"count", "viewfactor.scalar"}


def test_counts_match_what_was_answered_wrongly(run: RunFolder, opened: Open) -> None:
    visit, tree = opened(run.page), gallery(run)
    whole = sum(int(total["count"]) for total in tree["totals"])
    here = sum(reply["verdict"] != "right" for card in tree["cards"] for reply in card["replies"])  # type: ignore[index]
    words = visit.text("#gallery-count")
    assert f"with {here} wrong answers" in words
    assert (f"{whole - here} more of them are not in this page" in words) == (whole > here)


def test_more_are_shown_on_demand_and_all_in_the_end(run: RunFolder, opened: Open) -> None:
    visit, cards = opened(run.page), gallery(run)["cards"]
    while visit.page.locator("#gallery-more").is_visible():
        before = visit.count(".card")
        visit.page.click("#gallery-more")
        assert visit.count(".card") > before
    assert visit.count(".card") == len(cards)


def test_search_finds_text_and_says_when_there_is_none(run: RunFolder, opened: Open) -> None:
    visit, cards = opened(run.page), gallery(run)["cards"]
    visit.page.fill("#gallery-text", "CLOSEST")
    expected = sum(str(card["subtype"]) == "depth.closest_object" for card in cards)
    assert visit.count(".card") == expected
    visit.page.fill("#gallery-text", "no such words anywhere")
    assert visit.count(".card") == 0
    assert visit.text("#gallery-count").startswith("0 of 0 questions")


def test_every_card_has_its_picture(run: RunFolder, opened: Open) -> None:
    visit = opened(run.page)
    loaded = "[...document.querySelectorAll('.card img')].filter((i) => i.complete && i.naturalWidth > 8).length"
    deadline = time.monotonic() + 60
    while visit.page.evaluate(loaded) != 24 and time.monotonic() < deadline:
        visit.page.wait_for_timeout(50)
    assert visit.page.evaluate(loaded) == 24


def test_a_panel_is_chosen(run: RunFolder, opened: Open) -> None:
    visit = opened(run.page)
    panels = visit.page.locator("#confusions .panel")
    assert panels.count() == 2 * len(MODELS)
    assert [panel.is_visible() for panel in panels.all()].count(True) == 1
    visit.page.select_option("#confusions select", label="llava after")
    assert [panel.is_visible() for panel in panels.all()].index(True) == 2 * len(MODELS) - 1


# ---- colours and widths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(run: RunFolder, opened: Open, scheme: str) -> None:
    visit = opened(run.page, scheme=scheme)

    def brightness() -> float:
        colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    other = {"light": "Dark", "dark": "Light"}[scheme]
    assert (brightness() > 128) == (scheme == "light")
    assert visit.text("#theme") == other
    visit.page.click("#theme")
    assert (brightness() > 128) == (scheme == "dark")
    assert visit.text("#theme") != other
    visit.page.reload()
    assert (brightness() > 128) == (scheme == "dark"), "the choice is forgotten"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_ground(run: RunFolder, opened: Open, scheme: str) -> None:
    visit = opened(run.page, scheme=scheme)
    # Contrast as WCAG 2.2 defines it, of text in HTML and in plots, drawn by a canvas so that any notation is read.
    worst = visit.page.evaluate(
        """() => {
          const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
          const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
          const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (node) => { for (let at = node; at; at = at.parentElement) {
              const found = rgb(getComputedStyle(at).backgroundColor); if (found[3] === 255) return found; }
            return [255, 255, 255, 255]; };
          let worst = [99, ''];
          for (const node of document.querySelectorAll('p, li, th, td, small, span, dt, dd, a, summary, svg text')) {
            if (!node.textContent.trim() || !node.checkVisibility() || node.closest('.other')) continue;
            const style = getComputedStyle(node), svg = node.namespaceURI.endsWith('svg');
            const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(ground(node))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < worst[0]) worst = [contrast, node.textContent.slice(0, 40), style.color, node.className];
          }
          return worst;
        }"""
    )
    assert worst[0] >= 3.0, worst


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_the_page_fits_the_screen(run: RunFolder, compared: Path, opened: Open, width: int) -> None:
    for path in (run.page, compared):
        visit = opened(path, width=width)
        visit.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 390, 500, 1600])
def test_a_table_that_goes_on_says_so_and_keeps_the_last_scores_in_sight(
    run: RunFolder, opened: Open, width: int
) -> None:
    visit = opened(run.page, width=width)
    table = visit.page.locator("#scores .scroll").first
    hint = visit.page.locator("#scores .more").first
    if width == 1600:
        expect(table).not_to_have_class(re.compile("scrolls"))
        expect(hint).to_be_hidden()
        return
    expect(table).to_have_class(re.compile("scrolls"), timeout=60_000)
    expect(hint).to_be_visible(timeout=60_000)
    head, first = (table.locator(f"thead th:{end}-child").bounding_box() for end in ("last", "first"))
    assert head and first
    assert table.locator("thead th").last.inner_text().split() == ["llava", "after"]
    assert head["x"] + head["width"] <= width and first["x"] + first["width"] <= head["x"]
    values = table.locator("tbody tr:not(.group) > :last-child")
    assert all((box := cell.bounding_box()) and box["x"] + box["width"] <= width for cell in values.all())


def test_without_its_script_everything_but_the_gallery_is_there(run: RunFolder, opened: Open) -> None:
    visit = opened(run.page, script=False)
    assert "needs JavaScript" in visit.text("#gallery-count")
    assert visit.page.locator("#confusions .panel").last.is_visible()
    assert not visit.page.locator("#theme").is_visible()


# ---- hostile text ---------------------------------------------------------------------------------------------------


def test_what_a_model_said_stays_text(run: RunFolder, opened: Open) -> None:
    visit = opened(run.page)
    visit.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    while visit.page.locator("#gallery-more").is_visible():
        visit.page.click("#gallery-more")
    assert visit.page.evaluate("window.hacked") is None
    shown = visit.text("body")
    for attack in ATTACKS:
        first = attack.split("\u2028")[0].replace("\u202e", "\ufffd").strip()
        assert first in shown, first
    assert "<b>win</b>" in visit.text("main > p em")
    assert all(text.endswith(ATTACKS[1]) for text in visit.page.locator(".card .question").all_inner_texts())
    assert visit.count("main img[src='x'], main b, main svg[onload], main style") == 0
    assert visit.count("script") == 2


def test_the_page_holds_nothing_to_fetch(run: RunFolder, compared: Path) -> None:
    for path in (run.page, compared):
        text = path.read_text(encoding="utf-8")
        markup = re.sub(r"<script.*?</script>|<pre.*?</pre>", "", text, flags=re.S)
        addresses = re.findall(r"(?:src|srcset|action|poster|data|xlink:href)\s*=\s*[\"']([^\"']*)", markup)
        assert all(address.startswith(("data:", "#")) for address in addresses), addresses
        assert "@import" not in text and not re.search(r"url\((?!#)", markup)
        targets = re.findall(r"<a [^>]*href=\"([^\"]*)\"", markup)
        assert targets and all(not re.match(r"[a-z]+:", target) for target in targets)


# ---- the comparison -------------------------------------------------------------------------------------------------


def test_a_comparison_opens_and_names_every_run(run: RunFolder, compared: Path, opened: Open) -> None:
    visit = opened(compared)
    assert run.id in visit.text("#runs")
    assert visit.count("#scores table") >= 2
    visit.page.click("#differences summary >> nth=0")
    assert visit.page.locator("#differences table").first.is_visible()
