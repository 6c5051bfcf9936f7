"""The report's page in a browser: what it loads, how wide it is, and whether it does what it says."""

import shutil

import pytest

from fairtune.report.html import render
from tests import pages

pytestmark = pytest.mark.browser

WIDTHS = [390, 1280]


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium: none of chromium, chromium-browser, google-chrome is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the dev extra")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animals")
    asked = {f"item{at}": f"Which animal is number {at}?" for at in range(60)}
    text = render(pages.report(folder), study_text=pages.STUDY, study_file="studies/animals.yaml", prompts=asked)
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, file):
    """Opens the page; at the end nothing may have been said in the console, or asked of a network."""
    said, asked, contexts = [], [], []

    def open_page(width=1280, **options):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce", **options)
        )
        contexts[-1].set_default_timeout(5000)
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == {file.as_uri()}


def seen(locator):
    """Scrolled to, with that done."""
    locator.scroll_into_view_if_needed()
    locator.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return locator


def column(page, table, number):
    """Texts of a column, of the lines that are shown."""
    return page.locator(f"{table} tbody tr:visible > :nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_wide_as_the_window(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, .drawing, .unseen, .skip, .tip')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_on_a_phone_a_wide_table_scrolls_by_itself_and_its_first_column_stays(visit):
    page = visit(390)
    moved = page.evaluate(
        "(() => { const box = document.querySelector('#results .scroll'); box.scrollLeft = 200;"
        " return [box.scrollLeft, box.querySelector('tbody th').getBoundingClientRect().left, scrollX]; })()"
    )
    assert moved[0] == 200
    assert moved[1] < 30
    assert moved[2] == 0


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(visit):
    page = visit()
    head = page.locator(".quality thead th", has_text="bleu")
    names = ".quality tbody .lead .name"
    as_given = page.locator(names).all_inner_texts()
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator(names).all_inner_texts() == ["full", "lora rank=4", "base", "lora rank=16", "lora rank=16"]
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator(names).all_inner_texts() == ["base", "lora rank=4", "full", "lora rank=16", "lora rank=16"]
    page.locator(".quality thead th", has_text="method").locator("button").click()
    assert page.locator(names).all_inner_texts() == sorted(as_given, key=lambda name: name.replace("=4", "=04"))
    assert head.get_attribute("aria-sort") == "none"


def test_comparisons_sort_by_their_numbers_not_by_their_texts(visit):
    page = visit()
    head = page.locator(".pairs thead th", has_text="p adjusted")
    head.locator("button").click()
    shown = [0.0 if text.startswith("<") else float(text) for text in column(page, ".pairs", 6)]
    assert len(shown) == 15
    assert shown == sorted(shown)


def test_comparisons_are_chosen_by_metric_and_family(visit):
    page = visit()
    page.locator("#pair-metric").select_option("bleu")
    assert column(page, ".pairs", 2) == ["bleu"] * 3
    page.locator("#pair-family").select_option("among trained methods")
    assert [text.split("\n")[0] for text in column(page, ".pairs", 1)] == ["full − lora rank=4"]
    page.locator("#pair-metric").select_option(label="all")
    assert len(column(page, ".pairs", 1)) == 5


def test_the_seeds_of_a_method_unfold_and_failed_ones_are_always_seen(visit):
    page = visit()
    rows = page.locator(".quality tbody", has_text="full").first
    assert rows.locator("tr:visible").count() == 1
    fold = rows.locator(".fold")
    assert fold.get_attribute("aria-expanded") == "false"
    fold.click()
    assert fold.get_attribute("aria-expanded") == "true"
    assert rows.locator("tr:visible").count() == 3
    assert page.get_by_text("the loss is nan at update 12").is_visible()


def test_what_stands_behind_a_difference_is_shown_by_pointing_by_a_tap_and_by_a_key(visit):
    page = visit()
    gain = page.locator("button.gain").first
    tip = page.locator(".tip:popover-open")
    seen(gain).hover()
    assert "p adjusted" in tip.inner_text()
    page.mouse.move(2, 2)
    assert tip.count() == 0
    gain.click()
    page.mouse.move(2, 2)
    assert tip.count() == 1
    assert gain.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert tip.count() == 0
    gain.focus()
    page.keyboard.press("Enter")
    assert tip.count() == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_a_note_at_a_number_stays_inside_the_window(visit, width):
    page = visit(width)
    for gain in page.locator("button.gain:visible").all():
        seen(gain).click()
        box = page.locator(".tip:popover-open").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] >= 0
        page.keyboard.press("Escape")


def test_two_runs_and_a_metric_show_the_items_that_changed(visit):
    page = visit()
    assert page.locator("#run-a option:checked").inner_text() == "base"
    assert page.locator("#run-b option:checked").inner_text().startswith("full")
    assert page.locator("#list > li").count() == 8
    page.locator("#more").click()
    assert page.locator("#list > li").count() == 28
    page.locator("#run-a").select_option(label="full · seed 0")
    page.locator("#run-b").select_option(label="base")
    page.locator("#by-metric").select_option(label="bleu")
    counts = {}
    for text in page.locator("#filters button").all_inner_texts():
        kind, number = text.split()
        counts[kind] = int(number)
    assert counts["better"] + counts["worse"] + counts["same"] == counts["all"] == 60
    assert counts["worse"] > counts["better"]
    page.locator("#filters button", has_text="worse").click()
    first = page.locator("#list > li").first
    assert first.locator(".change").inner_text().startswith("▼ −")
    assert "Which animal is number" in first.inner_text()
    assert first.locator("dt").all_inner_texts() == ["reference", "full · seed 0", "base"]
    assert first.locator("mark").count() > 0
    page.locator("#filters button", has_text="same").click()
    assert page.locator("#list > li .change").all_inner_texts() == ["= same"] * min(8, counts["same"])


def test_words_may_be_marked_where_they_differ_from_the_reference(visit):
    page = visit()
    page.locator("#against").select_option("reference")
    entry = page.locator("#list > li").first
    reference, *answers = entry.locator("dd").all_inner_texts()
    marked = entry.locator("mark").all_inner_texts()
    assert marked
    assert all(words in " ".join(answers) for words in marked)
    assert entry.locator(".reference mark").count() == 0
    assert reference


def test_the_same_run_twice_is_told(visit):
    page = visit()
    page.locator("#run-a").select_option(label="full · seed 0")
    page.locator("#run-b").select_option(label="full · seed 0")
    assert page.locator("#said").inner_text() == "The same run twice: choose another."


def test_the_switch_turns_light_into_dark_and_back(visit):
    page = visit(color_scheme="light")

    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = paper()
    page.locator("#theme").click()
    dark = paper()
    assert dark != light
    page.locator("#theme").click()
    assert paper() == light
    assert visit(color_scheme="dark").evaluate("getComputedStyle(document.body).backgroundColor") == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_it_stands_on(visit, scheme):
    """WCAG's contrast of 4.5, of the colours that texts have."""
    page = visit(color_scheme=scheme)
    low = page.evaluate("""() => {
      const parse = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
      const paper = (e) => { for (; e; e = e.parentElement) {
        const found = parse(getComputedStyle(e).backgroundColor); if (found.length < 4 || found[3] > 0) return found; }
        return [255, 255, 255]; };
      const texts = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
        && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !e.closest("script, svg"));
      return texts.map((e) => { const [a, b] = [parse(getComputedStyle(e).color), paper(e)].map(light);
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 90)]; })
        .filter(([ratio]) => ratio < 4.5);
    }""")
    assert low == []


def test_without_scripts_tables_are_whole_and_the_items_say_what_they_need(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".quality tbody tr:visible").count() == 9
    assert page.get_by_text("This part needs JavaScript").is_visible()
    assert not page.locator("#browser").is_visible()
    assert page.locator("#theme").is_hidden()


def test_on_paper_nothing_is_cut_off_and_it_is_light(visit):
    page = visit(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 28, 26)"
    assert page.locator("nav").is_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
