"""Report and viewer as a person meets them: in a browser, at the size of a desk and of a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, SCENES
from gl10m.report.page.assembly import write_report
from gl10m.scene.rejection import STAGES
from gl10m.view.command import site_of
from gl10m.view.server import ViewServer
from gl10m.view.static import write_static
from tests.loopback import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

DESKTOP: "ViewportSize" = {"width": 1240, "height": 760}
PHONE: "ViewportSize" = {"width": 400, "height": 800}


def until(page: "Page", condition: str, argument: str = "") -> None:
    """Wait for a condition. Playwright's own way needs eval in the page, which its policy forbids."""
    for _ in range(200):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"in 10 seconds it did not become true that {condition} ({argument})")


TILES_ARE_THERE = "() => [...document.querySelectorAll('.tile img')].every(image => image.complete)"
MAP_SAYS = "words => document.getElementById('map-status').textContent.startsWith(words)"
SCENE_IS = "name => document.getElementById('scene-name').textContent === name"
SCENE_IS_NOT = "name => document.getElementById('scene-name').textContent !== name"


class Opened:
    """A page, with all that it said and asked for."""

    def __init__(self, browser: "Browser", address: str, size: "ViewportSize") -> None:
        self.page = browser.new_context(viewport=size).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]")

    def asked_beyond(self, start: str) -> list[str]:
        """Requests to anywhere else than below an address; what stands in the page itself is none."""
        return [url for url in self.asked if not url.startswith((start, "data:"))]


@pytest.fixture(scope="module")
def report(town_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(town_root, out, samples=2)
    return out


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_report_opens_without_a_word_or_a_request(
    browser: "Browser", report: Path, pictures: Path, name: str, size: "ViewportSize"
) -> None:
    opened = Opened(browser, report.as_uri(), size)
    assert opened.said == []
    assert opened.asked_beyond(report.as_uri()) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    opened.page.screenshot(path=pictures / f"report-{name}.png", full_page=True)


def test_the_funnel_in_the_page_is_the_manifests(browser: "Browser", report: Path, town_root: Path) -> None:
    page = Opened(browser, report.as_uri(), DESKTOP).page
    shown = page.evaluate(
        """[...[...document.querySelectorAll("#funnel table")]
          .find(table => table.caption.textContent === "Funnel by stage").tBodies[0].rows]
          .map(row => [...row.cells].map(cell => cell.textContent))"""
    )
    funnel = parquet.read(town_root / "manifests" / "funnel.parquet", FUNNEL)
    paper = {"footprints": "319,060", "subsampling": "273,250", "consistency": "104,020"}
    expected = []
    for stage in STAGES:
        rows = [row for row in funnel.to_pylist() if row["stage"] == stage]
        numbers = [f"{sum(row[name] for row in rows):,}" for name in ("read", "kept", "rejected", "failed")]
        expected.append([stage, *numbers, paper.get(stage, "")])
    assert shown == expected


def test_the_map_filters_by_class_and_split(browser: "Browser", report: Path, town_root: Path) -> None:
    page = Opened(browser, report.as_uri(), DESKTOP).page
    labels = parquet.read(town_root / "manifests" / "scenes.parquet", SCENES, ["class_ids"])
    forests = sum(65 in row for row in labels["class_ids"].to_pylist() if row)
    assert 0 < forests < labels.num_rows
    page.select_option("#map-class", "65")
    until(page, MAP_SAYS, f"{forests} of {labels.num_rows} scenes with Forest")
    page.uncheck("#map-splits input")
    until(page, MAP_SAYS, "0 of")


@pytest.fixture(scope="module")
def address(town_root: Path) -> Iterator[str]:
    with served(ViewServer(site_of(town_root, (), None, (), 0, is_static=False))) as found:
        yield found


def tiles_shown(page: "Page") -> int:
    """Tiles whose pixels are there."""
    until(page, TILES_ARE_THERE)
    images = "[...document.querySelectorAll('.tile img')]"
    return int(page.evaluate(f"{images}.filter(image => image.naturalWidth === 268).length"))


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_slider_shows_exactly_so_many_tiles(
    browser: "Browser", address: str, pictures: Path, name: str, size: "ViewportSize"
) -> None:
    opened = Opened(browser, address, size)
    page = opened.page
    page.wait_for_selector("html[data-scene]")
    for budget in (12, 0, 37, 100, 5):
        page.fill("#budget", str(budget))
        assert tiles_shown(page) == budget
        assert page.inner_text("#budget-words").startswith(f"{budget} of 100 tiles")
    page.keyboard.press("+")
    assert tiles_shown(page) == 6
    page.fill("#budget", "37")
    tiles_shown(page)
    assert opened.said == []
    assert opened.asked_beyond(address) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.screenshot(path=pictures / f"view-{name}.png", full_page=name == "phone")


def test_only_bought_tiles_are_asked_for(browser: "Browser", address: str) -> None:
    opened = Opened(browser, address, DESKTOP)
    opened.page.wait_for_selector("html[data-scene]")
    assert tiles_shown(opened.page) == 12
    assert len({url for url in opened.asked if url.endswith(".jpg") and "lr.jpg" not in url}) == 12


def test_classes_are_outlined_and_the_list_is_filtered(browser: "Browser", address: str) -> None:
    page = Opened(browser, address, DESKTOP).page
    page.wait_for_selector("html[data-scene]")
    assert page.locator("#lr-frame .overlay path").count() > 0
    buttons = page.locator("#classes button")
    buttons.first.click()
    assert page.locator("#lr-frame .overlay path.alone").count() >= 1
    before = page.locator("#list li").count()
    page.select_option("#by-class", "65")
    assert 0 < page.locator("#list li").count() < before
    page.fill("#by-name", "no such scene")
    assert page.inner_text("#found").startswith("0 of")


def test_the_list_is_walked_with_the_keyboard(browser: "Browser", address: str) -> None:
    page = Opened(browser, address, DESKTOP).page
    page.wait_for_selector("html[data-scene]")
    first = page.inner_text("#scene-name")
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    until(page, SCENE_IS_NOT, first)
    page.keyboard.press("Home")
    until(page, SCENE_IS, first)


def test_a_folder_opens_from_a_file_and_follows_an_order_file(
    browser: "Browser", town_root: Path, tmp_path: Path
) -> None:
    scene = parquet.read(town_root / "manifests" / "scenes.parquet", SCENES, ["scene_id"])["scene_id"][
        0
    ].as_py()
    order = pa.table({"scene_id": [scene] * 3, "rank": [2, 0, 1], "tile": [7, 44, 99]})
    pq.write_table(order, tmp_path / "sampler.parquet")
    site = site_of(town_root, (scene,), None, (tmp_path / "sampler.parquet",), 0, is_static=True)
    write_static(site, tmp_path / "scenes")
    opened = Opened(browser, (tmp_path / "scenes" / "index.html").as_uri(), DESKTOP)
    page = opened.page
    page.wait_for_selector("html[data-scene]")
    page.fill("#budget", "2")
    assert tiles_shown(page) == 2
    bought = page.evaluate(
        """[...document.querySelectorAll(".tile")]
        .flatMap((tile, place) => tile.dataset.rank ? [[Number(tile.dataset.rank), place]] : [])"""
    )
    assert sorted(bought) == [[1, 44], [2, 99]]
    page.fill("#budget", "50")  # the file buys three tiles and no more
    assert tiles_shown(page) == 3
    assert opened.said == []
    assert opened.asked_beyond((tmp_path / "scenes").as_uri()) == []
