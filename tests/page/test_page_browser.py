"""The page in a real Chromium: every control by mouse and by keyboard, and nothing on the console."""

from __future__ import annotations

import shutil

import pytest
from helpers.pages import hostile

webdriver = pytest.importorskip("selenium.webdriver")
chromium, service = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
if not chromium or not service:
    pytest.skip("no Chromium and its driver", allow_module_level=True)

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,800")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


class Page:
    """The page as a reader meets it."""

    def __init__(self, browser, path):
        self.browser = browser
        browser.get(path.as_uri())
        WebDriverWait(browser, 10).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#unfolded svg"))

    def __getitem__(self, name):
        return self.browser.find_element(By.ID, name)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def keys_of(self, selector):
        return {element.get_dom_attribute("data-key") for element in self.all(selector)}

    def node(self, figure, key):
        return next(e for e in self.all(f"#{figure} [data-key]") if e.get_dom_attribute("data-key") == key)

    def press(self, *keys):
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def told(self):
        return self["told"].text


@pytest.fixture
def page(browser, page_of_jordan):
    made = Page(browser, page_of_jordan)
    yield made
    assert browser.get_log("browser") == []


def test_choosing_a_node(page):
    assert "Choose a node" in page.told()
    page.node("folded", "h").click()
    assert page.keys_of("#unfolded .lit") == {"h[1]", "h[2]", "h[3]"}
    assert "h⁽ᵗ⁾ = tanh(W o⁽ᵗ⁻¹⁾ + U x⁽ᵗ⁾)" in page.told()
    assert "t = 1…T" in page.told()
    assert "ops.tanh(W @ o[t - 1] + U @ x[t])" in page.told()
    page.node("unfolded", "h[2]").click()
    assert page.keys_of("#unfolded .lit") == {"h[2]"}
    assert page.keys_of("#unfolded .kin") == {"h[1]", "h[3]"}
    assert page.keys_of("#folded .lit") == {"h"}
    assert page.node("unfolded", "h[2]").get_dom_attribute("aria-pressed") == "true"
    assert "h⁽²⁾ = tanh(W o⁽¹⁾ + U x⁽²⁾)" in page.told()
    assert len(page.all("#unfolded .edge.into")) == 2
    page.node("unfolded", "h[2]").click()
    assert not page.all(".lit")


def test_the_slider(page):
    assert page["count"].text == "T = 3"
    page.node("unfolded", "h[3]").click()
    page["steps"].send_keys(Keys.ARROW_LEFT)
    assert page["count"].text == "T = 2"
    assert page["steps"].get_dom_attribute("aria-valuetext") == "T = 2"
    assert "h[3]" not in page.keys_of("#unfolded [data-key]")
    assert page.keys_of("#unfolded .lit") == {"h[1]", "h[2]"}


def test_the_switches(page):
    page.node("folded", "h").click()
    page["forced"].click()
    assert "W y⁽ᵗ⁻¹⁾" in page.told()
    assert page.all("#unfolded .edge.severed")
    page["backward"].click()
    assert "h~[1]" in page.keys_of("#unfolded [data-key]")
    page.node("folded", "h~").click()
    assert "∂L/∂h⁽ᵗ⁾ = Vᵀ ∂L/∂o⁽ᵗ⁾" in page.told()
    page["forced"].click()
    page["backward"].send_keys(Keys.SPACE)
    assert not page.all(".lit")
    assert "h~" not in page.keys_of("#folded [data-key]")


def test_the_player(page):
    page["backward"].click()
    count = int(page["position"].text.split()[0])
    page["next"].click()
    assert page.keys_of("#unfolded .lit") == {"h[1]"}
    assert page.keys_of("#unfolded .source") == {"o[0]", "x[1]"}
    page["next"].click()
    assert page.keys_of("#unfolded .lit") == {"o[1]"}
    page["previous"].click()
    assert page["position"].text == f"1 of {count}"
    page["first"].click()
    assert page["position"].text == f"0 of {count}"
    assert not page["previous"].is_enabled()
    seen = []
    while page["next"].is_enabled():
        page["next"].click()
        seen += page.keys_of("#unfolded .lit")
    assert len(seen) == len(set(seen)) == count
    assert seen.index("h[3]") < seen.index("loss[3]") < seen.index("o~[3]") < seen.index("h~[1]")
    assert not page.all("#unfolded .dim[data-key]")
    page["all"].click()
    assert page["position"].text == f"{count} steps"
    page["play"].click()
    assert page["play"].text == "pause"
    WebDriverWait(page.browser, 10).until(lambda _: page["position"].text.startswith("2 of"))
    page["play"].click()
    assert page["play"].text == "play"


def test_colours_of_a_run(page):
    choice = Select(page["overlay"])
    assert [option.text for option in choice.options] == ["nothing", "values", "gradients"]
    page["steps"].send_keys(Keys.ARROW_LEFT)
    choice.select_by_visible_text("values")
    assert page["count"].text == "T = 3"
    assert "nan" in page.node("unfolded", "h[2]").text
    choice.select_by_visible_text("gradients")
    assert "‖gradient‖" in page["unfolded"].text
    choice.select_by_visible_text("nothing")
    assert "nan" not in page["unfolded"].text


def test_the_keyboard_alone(page):
    page["all"].click()
    for _ in range(40):
        page.press(Keys.TAB)
        if page.browser.switch_to.active_element.get_dom_attribute("data-key"):
            break
    assert page.browser.switch_to.active_element in page.all("#folded [data-key]")
    page.press(Keys.TAB)
    start = page.browser.switch_to.active_element
    assert start in page.all("#unfolded [data-key]")
    seen = {start.get_dom_attribute("data-key")}
    for key in (Keys.ARROW_UP, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT) * 3:
        page.press(key)
        seen.add(page.browser.switch_to.active_element.get_dom_attribute("data-key"))
    assert len(seen) > 3
    page.press(Keys.ENTER)
    here = page.browser.switch_to.active_element.get_dom_attribute("data-key")
    assert page.keys_of("#unfolded .lit") == {here}
    assert page.told().splitlines()[0]
    page.press(Keys.ESCAPE)
    assert not page.all(".lit")
    page.press(Keys.SPACE)
    assert page.keys_of("#unfolded .lit") == {here}
    page.press(".")
    assert page["position"].text.startswith("1 of")
    page.press(".", ",")
    assert page["position"].text.startswith("1 of")
    page.press("p")
    assert page["play"].text == "pause"
    page.press(Keys.ESCAPE)
    assert page["play"].text == "play"
    page.press(Keys.SHIFT + Keys.TAB)
    style = "const s = getComputedStyle(document.activeElement.querySelector('ellipse')); return s.strokeWidth"
    assert page.browser.execute_script(style) == "4px"


def test_focus_survives_a_change_of_picture(page):
    page.node("unfolded", "o[1]").click()
    page.press(Keys.TAB)
    page.node("unfolded", "o[1]").click()
    page.press("")
    page.browser.execute_script("document.getElementById('backward').click()")
    assert page.browser.switch_to.active_element.get_dom_attribute("data-key") == "o[1]"


def test_hostile_names(browser, tmp_path):
    path = tmp_path / "hostile.html"
    hostile().explore(path, steps=2)
    page = Page(browser, path)
    for element in page.all("#unfolded [data-key]"):
        element.click()
        assert page.told()
    assert '</script><b id="x">' in browser.title
    assert not page.all("b")
    assert browser.get_log("browser") == []


def test_narrow_and_dark(browser, page_of_jordan):
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.set_window_size(500, 800)
    page = Page(browser, page_of_jordan)
    wide, page_wide = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert page_wide <= wide
    assert page["folded"].rect["y"] + page["folded"].rect["height"] <= page["unfolded"].rect["y"]
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert max(map(int, back.strip("rgb()").split(","))) < 60
    assert browser.get_log("browser") == []
