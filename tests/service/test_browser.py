"""Every flow of the page clicked in Chromium, and what axe-core finds on each of its pages."""

import shutil

import pytest

from tests.support.catalogue import encoded, photo
from tests.support.processes import unidiff

sync_api = pytest.importorskip("playwright.sync_api", reason="comes with the extra `test`")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="as above")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium"),
]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def address(finished):
    with unidiff(finished.root, "serve", "--port", "0") as process:
        yield process.stdout.readline().strip()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def page(browser, address, request):
    """A page at the size of a desk and of a phone; nothing it does may end in an error."""
    width, height = SIZES[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        base_url=address,
        color_scheme="dark" if request.param == "phone" else "light",
    )
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: line.type == "error" and problems.append(line.text))
    page.set_default_timeout(15_000)
    page.goto("/")
    yield page
    context.close()
    # What a browser says of an answer that refuses is no mistake of the page.
    assert not [line for line in problems if "status of 400" not in line]


def cards(page):
    return page.locator(".results .picture").evaluate_all("all => all.map(a => a.pathname)")


def type_query(page, text):
    page.fill("#q", text)
    page.press("#q", "Enter")
    page.wait_for_function("text => document.querySelector('#main').dataset.q === text", arg=text)


def said(page, words):
    """Waits until the generation says so."""
    page.wait_for_function(
        "words => document.querySelector('#state').textContent.includes(words)",
        arg=words,
        timeout=60_000,
    )


def opened(page, part):
    """A panel that is folded on a phone."""
    details = page.locator(f"{part} details")
    if not details.evaluate("one => one.open"):
        page.locator(f"{part} summary").click()


def test_typing_searches_without_loading_the_page_anew(page):
    before = cards(page)
    page.evaluate("window.same = true")
    type_query(page, "red dress")
    assert cards(page) != before and "q=red+dress" in page.url and page.evaluate("window.same")
    page.go_back()
    page.wait_for_function("() => !location.search.includes('dress')")


def test_facets_narrow_and_chips_take_back(page):
    opened(page, ".facets")
    page.locator("input[value='color:red']").check()
    page.wait_for_function("() => location.search.includes('color')")
    assert all("red" in text for text in page.locator(".results .caption").all_inner_texts())
    type_query(page, "dress")
    page.fill("input[name=plus][type=text]", "bag")
    page.press("input[name=plus][type=text]", "Enter")
    page.wait_for_selector(".chip.wanted")
    page.fill("input[name=minus][type=text]", "hat")
    page.press("input[name=minus][type=text]", "Enter")
    page.wait_for_selector(".chip.unwanted")
    assert "f=color%3Ared" in page.url and "plus=bag" in page.url and "minus=hat" in page.url
    both = cards(page)
    page.locator(".chip.unwanted a").click()
    page.wait_for_selector(".chip.unwanted", state="detached")
    assert "minus" not in page.url and cards(page) != both


def test_more_like_this_searches_for_a_result(page):
    type_query(page, "blue hat")
    first = cards(page)[0]
    page.locator(".results .card").first.get_by_text("More like this").click()
    page.wait_for_selector(".chip.wanted img")
    assert "like=" in page.url and page.input_value("#q") == "" and first not in cards(page)
    page.locator(".results .card").first.get_by_text("Less").click()
    page.wait_for_selector(".chip.unwanted img")


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_an_image_is_a_query(page, way):
    data = encoded(photo(4), "PNG")
    if way == "choose":
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": data})
    else:
        page.evaluate(
            """([bytes, way]) => {
                const transfer = new DataTransfer();
                const file = new File([new Uint8Array(bytes)], "x.png", {type: "image/png"});
                transfer.items.add(file);
                const options = {bubbles: true, cancelable: true};
                const event = way === "drop"
                    ? new DragEvent("drop", {...options, dataTransfer: transfer})
                    : new ClipboardEvent("paste", {...options, clipboardData: transfer});
                document.body.dispatchEvent(event);
            }""",
            [list(data), way],
        )
    page.wait_for_url("**/?image=*")
    assert page.locator(".chip.wanted img").count() == 1 and len(cards(page)) > 5


def test_what_is_no_image_is_said(page):
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no"})
    page.wait_for_selector(".problem")
    assert "cannot be read as an image" in page.locator(".problem").inner_text()


def test_a_product_has_a_page_with_its_neighbours(page):
    page.locator(".results .picture").first.click()
    page.wait_for_url("**/items/*")
    assert page.locator(".item dl").count() and page.locator(".item .picture").count() == 12
    page.locator(".item .picture").first.click()
    page.get_by_text("More like this").first.click()
    page.wait_for_url("**/?like=*")


def test_generation_shows_how_far_it_is_and_can_be_searched_with(page):
    type_query(page, "red dress")
    opened(page, ".generate")
    page.fill("#generate [name=prompt]", "red dress")
    page.fill("#generate [name=count]", "2")
    page.click("#generate button.primary")
    page.wait_for_selector("#generated li:nth-child(2) img", timeout=60_000)
    said(page, "2 images")
    page.get_by_text("Search with it").first.click()
    page.wait_for_url("**/?image=*")
    assert len(cards(page)) > 5


def test_a_generation_is_cancelled(page):
    opened(page, ".generate")
    page.fill("#generate [name=prompt]", "blue bag")
    page.fill("#generate [name=count]", "16")
    page.click("#generate button.primary")
    page.click("#cancel")
    said(page, "Cancelled.")


def test_keys_lead_everywhere(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("red")
    assert page.input_value("#q") == "red"
    page.locator(".results .picture").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.pathname") == cards(page)[1]
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/*")


def test_the_theme_is_kept(page):
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert before != after == page.evaluate("getComputedStyle(document.body).backgroundColor")


PAGES = ["/", "/?q=red+dress&plus=long&minus=hat&f=color:red", "/items/{item}", "/login"]


@pytest.mark.parametrize("place", PAGES)
def test_axe_finds_nothing_serious(page, item, place):
    page.goto(place.format(item=item))
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        found = axe.Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, [(one["id"], one["nodes"][0]["html"]) for one in serious]


def test_nothing_is_wider_than_the_page(page, item):
    for place in PAGES:
        page.goto(place.format(item=item))
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, place
