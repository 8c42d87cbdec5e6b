"""The site in a browser: tabs, links, images, search, narrow screens, and nothing fetched from anywhere else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from conftest import SITE

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
LOOKED_AT = ("index", "side_by_side/boxes", "notebooks/chapter", "reports/parity", "side_by_side/train")
PICTURES = SITE.parent / "screenshots"
BROKEN = "() => [...document.images].filter(i => !i.naturalWidth && i.offsetParent).map(i => i.src)"
CHOSEN = "() => [...document.querySelectorAll('input:checked + [data-sync-id]')].map(label => label.dataset.syncId)"
GROUND = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"


class References(HTMLParser):
    """The ids of a page, what it links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and not set(found.get("rel", "").split()) & {"next", "prev", "search", "index", "canonical"}:
            self.loads.append(found.get("href", ""))
        if "src" in found:
            self.loads.append(found["src"])


@pytest.fixture(scope="module")
def references():
    return {name: References((SITE / name).read_text(encoding="utf-8")) for name in PAGES}


def is_elsewhere(link):
    return bool(re.match(r"[a-z]+:|//", link))


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(references):
    dead = []
    for name, page in references.items():
        for link in (link for link in page.links if not is_elsewhere(link)):
            target, fragment = urldefrag(urljoin(name, link) if link.partition("#")[0] else name + link)
            target = target.partition("?")[0]
            if target not in references:
                if not (SITE / target).is_file():
                    dead.append(f"{name}: {link}")
            elif fragment and unquote(fragment) not in references[target].ids:
                dead.append(f"{name}: {link}")
    assert sum(len(page.links) for page in references.values()) > 1000
    assert dead == []


def test_no_page_and_no_style_sheet_loads_anything_from_elsewhere(references):
    loads = {f"{name}: {load}" for name, page in references.items() for load in page.loads if is_elsewhere(load)}
    assert {load for load in loads if not load.partition(": ")[2].startswith("data:")} == set()
    for path in SITE.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_every_page_loads_all_it_needs_and_fits_a_narrow_screen(visit):
    visitor, found = visit(375), {}
    for name in PAGES:
        page = visitor.open(name)
        page.wait_for_function("() => [...document.images].every(image => image.complete || !image.offsetParent)")
        found[name] = page.evaluate("() => document.documentElement.scrollWidth"), page.evaluate(BROKEN)
    assert len(found) > 50
    assert {name: facts for name, facts in found.items() if facts != (375, [])} == {}


def test_a_tab_is_chosen_everywhere_and_remembered(visit):
    visitor = visit()
    page = visitor.open("side_by_side/boxes.html")
    assert set(page.evaluate(CHOSEN)) == {"torch"}
    assert page.get_by_text("low, high = torch.split").first.is_visible()
    page.locator("label[data-sync-id=mxnet]").first.click()
    chosen = page.evaluate(CHOSEN)
    assert (set(chosen), len(chosen) > 3) == ({"mxnet"}, True)
    for name in ("notebooks/chapter.html", "side_by_side/model.html"):
        chosen = visitor.open(name).evaluate(CHOSEN)
        assert (set(chosen), len(chosen) > 0) == ({"mxnet"}, True), name


def test_an_address_can_choose_the_framework(visit):
    visitor = visit()
    assert set(visitor.open("side_by_side/boxes.html?framework=mxnet").evaluate(CHOSEN)) == {"mxnet"}
    assert set(visitor.open("side_by_side/losses.html").evaluate(CHOSEN)) == {"mxnet"}


def test_the_numpy_reference_is_a_tab_that_changes_no_other(visit):
    page = visit().open("side_by_side/boxes.html")
    before = page.evaluate(CHOSEN)
    page.locator(".sd-tab-label", has_text="NumPy").first.click()
    assert page.get_by_text("ssd_common/boxes.py, line").first.is_visible()
    assert page.evaluate(CHOSEN) == before[1:]


def test_the_two_columns_have_the_code_of_both_and_mark_what_differs(visit):
    page = visit().open("side_by_side/boxes.html")
    row = page.locator("tr.differs", has_text="low, high = torch.split").first
    left, right, *_ = row.locator("td").all()
    assert left.locator("mark").all_inner_texts() == ["torch", "dim"]
    assert right.locator("mark").all_inner_texts() == ["np", "axis"]
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
    assert left.locator("b").all_inner_texts() == ["torch"]


def test_a_line_that_differs_says_why_beside_it(visit):
    row = visit().open("side_by_side/train.html").locator("tr.differs", has_text="trainer.step(1)").first
    assert "Gluon divides the gradient" in row.locator("td.why").inner_text()


def test_a_page_of_notebooks_has_them_to_download_with_their_outputs(visit):
    visitor = visit()
    page = visitor.open("notebooks/chapter.html")
    links = [link.get_attribute("href") for link in page.locator("article a.download").all()]
    assert [link.rpartition("/")[2] for link in links] == ["chapter_torch.ipynb", "chapter_mxnet.ipynb"]
    text = (SITE / "notebooks" / links[0]).read_text(encoding="utf-8")
    assert '"image/png"' in text


def test_the_start_page_has_three_doors_and_the_notebooks_with_their_times(visit):
    page = visit().open("index.html")
    doors = page.locator(".sd-card a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert doors == ["notebooks/index.html", "side_by_side/index.html", "reports/parity.html"]
    row = page.locator("table tr", has_text="single shot multibox detector").first
    assert "90 minutes" in row.inner_text()
    assert row.locator("a").get_attribute("href") == "notebooks/chapter.html"


def test_every_public_function_of_both_backends_is_on_a_page(visit):
    root = SITE.parent.parent
    for path in (root / "ssd_mxnet").glob("[!_]*.py"):
        names = re.findall(r"^(?:def|class) ([A-Za-z]\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if not names:  # `compat` has no function to compare, and no page
            continue
        headings = visit().open(f"side_by_side/{path.stem}.html").locator("h2").all_inner_texts()
        assert set(names) <= {heading.rstrip("#") for heading in headings}, path


def test_search_finds_a_function(visit):
    page = visit().open("search.html?q=multibox_target")
    link = page.locator("#search-results a[href*='side_by_side/targets']").first
    link.wait_for()
    link.click()
    page.wait_for_url("**/side_by_side/targets.html*")
    assert "def multibox_target" in page.inner_text("article")


def test_the_dark_scheme_is_dark_and_the_button_changes_it_for_good(visit):
    assert min(visit().open("index.html").evaluate(GROUND)) > 200
    visitor = visit(scheme="dark")
    page = visitor.open("index.html")
    assert max(page.evaluate(GROUND)) < 60
    page.locator(".theme-switch-button:visible").click()
    page.locator(".theme-change-button[data-mode=light]:visible").click()
    assert min(page.evaluate(GROUND)) > 200
    assert min(visitor.open("changelog.html").evaluate(GROUND)) > 200


def test_equations_are_there_without_a_script(visit):
    page = visit().open("notebooks/anchors_targets_nms.html")
    widths = page.evaluate("() => [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().width)")
    assert len(widths) > 5
    assert min(widths) > 2
    assert "$" not in page.inner_text("article p:has(math)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_pictures_of_pages_for_a_person_to_look_at(name, width, scheme, visit):
    page = visit(width, scheme).open(f"{name}.html")
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name.replace('/', '-')}-{width}-{scheme}.png"
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
