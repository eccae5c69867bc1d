"""The page in a browser, as a reader has it: with a mouse, a keyboard, a phone, in light and dark."""

import pytest
from browser import CHROMIUM, NO_CHROMIUM, Page, chromium
from made_evaluation import SCRIPT
from material_of_a_run import make_material

from report.report import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "index.html"
    file.write_text(report(make_material()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser():
    with chromium() as page:
        yield page


@pytest.fixture
def page(browser: Page, path) -> Page:
    browser.requests.clear()
    browser.messages.clear()
    browser.open(path)
    return browser


def texts(page: Page, selector: str) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((found) => found.textContent.trim())")


def test_the_page_asks_for_nothing_and_says_nothing_on_the_console(page: Page, path):
    page.evaluate("document.querySelectorAll('details').forEach((found) => { found.open = true; })")
    page.evaluate("new Promise((done) => setTimeout(done, 300))")
    assert {url for url in page.requests if not url.startswith("data:")} == {path.as_uri()}
    assert page.messages == []


def test_the_verdict_stands_first_and_every_task_is_there(page: Page):
    assert page.evaluate("document.querySelector('main section').id") == "verdict"
    assert texts(page, "#verdict .word") == ["Not blessed"]
    named = page.evaluate(
        "[...document.querySelectorAll('#tasks tbody th')].map((th) => th.firstChild.textContent.trim())"
    )
    assert {"like", "share", "completion"} <= set(named)


def test_importances_stand_in_columns_by_task_and_those_that_help_and_hurt_are_marked(page: Page):
    columns = ["Input", "Kind", "Torn", "like, AUC", "share, AUC", "completion, MSE"]
    assert texts(page, "#importance thead th") == columns
    assert texts(page, "#importance tbody td.unsure, #importance tbody .unsure")[0].startswith("helps and hurts")


def test_a_script_in_the_data_stays_text(page: Page):
    assert f"tab={SCRIPT}" in texts(page, "#slices tbody th")
    assert page.evaluate("document.scripts.length") == 3
    drawn = page.evaluate("[...document.querySelectorAll('#slices svg text')].map((found) => found.textContent)")
    assert any("<script>" in text for text in drawn)
    assert not any("dialog" in message for message in page.messages)


def test_every_chart_is_drawn_and_described(page: Page):
    page.evaluate("document.querySelectorAll('details').forEach((found) => { found.open = true; })")
    assert page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].every((found) => found.querySelector('svg [aria-label]')"
        " && found.ariaLabel === found.closest('figure').querySelector('figcaption').textContent)"
    )


def test_another_chart_comes_by_its_name(page: Page):
    title = "[...document.querySelectorAll('#seesaw svg text')].map((found) => found.textContent).join('|')"
    assert "gain of share (AUC)" in page.evaluate(title)
    page.evaluate(
        "(() => { const choice = document.querySelector('#seesaw [data-choose]');"
        " choice.selectedIndex = 1; choice.dispatchEvent(new Event('change')); })()"
    )
    page.wait_for(f"{title}.includes('gain of completion (MSE)')")


def test_all_charts_of_a_section_follow_one_choice(page: Page):
    page.evaluate(
        "(() => { const choice = document.querySelector('#curves [data-choose]');"
        " choice.selectedIndex = 1; choice.dispatchEvent(new Event('change')); })()"
    )
    chosen = "[...document.querySelectorAll('#curves [data-choose]')].map((found) => found.selectedOptions[0].text)"
    assert page.evaluate(chosen) == ["share", "share", "share"]


def test_slices_can_be_filtered_and_searched(page: Page):
    shown = "[...document.querySelectorAll('#slices tbody tr')].filter((row) => !row.hidden).length"
    page.evaluate(
        "(() => { const task = document.querySelector('#slices [data-filter]');"
        " task.value = 'share'; task.dispatchEvent(new Event('change')); })()"
    )
    assert page.evaluate(shown) == 3
    page.evaluate(
        "(() => { const search = document.querySelector('#slices [data-search]');"
        " search.value = 'country'; search.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate(shown) == 1
    assert texts(page, "#slices [data-count]") == ["1 of 9 rows"]


def test_a_table_is_sorted_by_keyboard(page: Page):
    page.evaluate("document.querySelectorAll('#slices [data-sort]')[2].focus()")
    values = "[...document.querySelectorAll('#slices tbody tr')].map((row) => +row.cells[2].dataset.value)"
    ascending = page.evaluate(values)
    page.press(*ENTER)
    assert page.evaluate(values) == sorted(ascending)
    page.press(*ENTER)
    assert page.evaluate(values) == sorted(ascending, reverse=True)
    assert page.evaluate("document.querySelectorAll('#slices thead th')[2].ariaSort") == "descending"


def test_the_keyboard_reaches_the_content_first(page: Page):
    page.press(*TAB)
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.press(*ENTER)
    page.wait_for("document.activeElement.id === 'main'")


def test_tables_are_tables_to_a_screen_reader(page: Page):
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every((table) => table.caption.textContent"
        " && [...table.tHead.rows[0].cells].every((cell) => cell.scope === 'col')"
        " && [...table.tBodies[0].rows].every((row) => row.cells[0].scope === 'row'))"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(browser: Page, path, dark):
    browser.open(path, width=375, height=800, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach((found) => { found.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") == 375


def test_the_theme_is_the_readers_and_can_be_chosen(browser: Page, path):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(path, dark=False)
    light = browser.evaluate(ground)
    browser.open(path, dark=True)
    dark = browser.evaluate(ground)
    assert light != dark
    browser.evaluate(
        "(() => { const theme = document.getElementById('theme');"
        " theme.value = 'light'; theme.dispatchEvent(new Event('change')); })()"
    )
    assert browser.evaluate(ground) == light
    browser.open(path, dark=True)
    assert browser.evaluate(ground) == light, "the choice outlives the page"
    browser.evaluate("localStorage.clear()")
