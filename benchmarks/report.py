"""The report and the viewer's list over manifests of the paper's size.

Writes manifests of 104,020 scenes with 215,040 rejections and a funnel (made up, no image), then times
`gl10m report` in a process of its own, opens the page, and measures the scripting time of the viewer's list
in headless Chromium (by the browser's own counters). Goals: report under 60 s and 10 MB; a filter or a page
of the list under 50 ms of script.

    python -m benchmarks.report            # needs chromium on the PATH
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from playwright.sync_api import Browser, Page, sync_playwright

from gl10m.manifest import parquet
from gl10m.manifest.schema import COVERAGE, FUNNEL, REJECTIONS, SCENES
from gl10m.report import splitting
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import STAGES, Reason
from gl10m.view.command import site_of
from gl10m.view.server import ViewServer

SCENES_MADE, LOST = 104_020, 215_040
STATES = {
    "AZ": (-112.0, 34.0), "CA": (-119.5, 36.5), "CO": (-105.5, 39.0), "FL": (-81.8, 28.5),
    "GA": (-83.5, 32.8), "IL": (-89.2, 40.0), "ME": (-69.2, 45.2), "NC": (-79.5, 35.5),
    "PA": (-77.5, 40.9), "TX": (-98.5, 31.5), "WA": (-120.5, 47.3),
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        write_manifests(root)
        out = Path(folder) / "report.html"
        began = time.perf_counter()
        used = children_cpu()
        subprocess.run(
            [sys.executable, "-m", "gl10m", "report", "--root", str(root), "--out", str(out)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        print(f"{SCENES_MADE:,} scenes, {LOST:,} rejections")
        print(
            f"gl10m report: {time.perf_counter() - began:.1f} s wall, {children_cpu() - used:.1f} s CPU, "
            f"{out.stat().st_size / 1e6:.2f} MB, {zipped(out) / 1e6:.2f} MB gzip"
        )
        with sync_playwright() as running:
            browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            open_report(browser, out)
            open_viewer(browser, root)
            browser.close()


def write_manifests(root: Path) -> None:
    random = np.random.default_rng(0)
    names = sorted(STATES)
    state = random.integers(0, len(names), SCENES_MADE)
    middles = np.array([STATES[name] for name in names])
    places = middles[state] + random.normal(0, 1, (SCENES_MADE, 2))
    class_map = ClassMap.bundled()
    weights = np.array([concept.paper_count or 1 for concept in class_map.concepts], float)
    many = random.random((SCENES_MADE, len(weights))) < np.minimum(0.9, weights / 94_077)
    many[np.arange(SCENES_MADE), random.choice(len(weights), SCENES_MADE, p=weights / weights.sum())] = True
    days = random.integers(-180, 600, SCENES_MADE)
    flown = date(2022, 6, 1)
    boxes = shapely.box(
        *(places[:, 0] - 0.012, places[:, 1] - 0.012, places[:, 0] + 0.012, places[:, 1] + 0.012)
    )
    columns = {
        "scene_id": [f"{names[s]}-w{100_000_000 + n}" for n, s in enumerate(state)],
        "state": [names[s] for s in state],
        "osm_id": [f"way/{100_000_000 + n}" for n in range(SCENES_MADE)],
        "longitude": places[:, 0],
        "latitude": places[:, 1],
        "class_ids": [np.flatnonzero(row).astype(np.uint8) for row in many],
        "bounds": shapely.bounds(boxes).tolist(),
        "geometry": shapely.to_wkb(boxes),
        "naip_items": [[f"quad-{n % 9000}"] for n in range(SCENES_MADE)],
        "sentinel2_items": [[f"granule-{n % 900}"] for n in range(SCENES_MADE)],
        "naip_date": [flown] * SCENES_MADE,
        "naip_gsd": np.full(SCENES_MADE, 0.6, np.float32),
        "sentinel2_date": [flown + timedelta(days=int(day)) for day in days],
        "days_between": days.astype(np.int16),
        "fallback": np.abs(days) > 183,
        "cloud_cover": random.random(SCENES_MADE, np.float32) * 2,
        "cloud_lr": random.random(SCENES_MADE, np.float32) / 10,
        "black_lr": random.random(SCENES_MADE, np.float32) / 50,
        "black_hr": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(SCENES_MADE * 100, np.float32)), 100),
    }
    arrays = []
    for field in SCENES.schema:
        values = columns.get(field.name)
        given = (
            values
            if isinstance(values, pa.Array)
            else pa.array(values, field.type)
            if values is not None
            else None
        )
        arrays.append(pa.nulls(SCENES_MADE, field.type) if given is None else given)
    metadata = {
        "gl10m.inputs": f'{{"class_map": "{class_map.digest}"}}',
        "gl10m.configuration": "{}",
        "gl10m.licences": "{}",
    }
    folder = root / "manifests"
    table = pa.Table.from_arrays(arrays, schema=SCENES.schema).sort_by("scene_id")
    parquet.write(folder / "scenes.parquet", table, SCENES, metadata)
    reasons, stage_of = [str(reason) for reason in Reason], random.integers(0, len(STAGES), LOST)
    lost = {
        "stage": [STAGES[s] for s in stage_of],
        "state": [names[n % len(names)] for n in range(LOST)],
        "subject": [f"way/{n}" for n in range(LOST)],
        "outcome": ["rejected"] * LOST,
        "reason": [reasons[n % len(reasons)] for n in range(LOST)],
        "detail": [""] * LOST,
    }
    parquet.write(folder / "rejections.parquet", pa.table(lost, REJECTIONS.schema), REJECTIONS, metadata)
    parquet.write(folder / "funnel.parquet", funnel(names, state, stage_of), FUNNEL, metadata)
    parquet.write(folder / "coverage.parquet", COVERAGE.empty(), COVERAGE, metadata)
    splitting.split_root(root, "state", 0)


def funnel(names: list[str], state: "np.ndarray", stage_of: "np.ndarray") -> pa.Table:
    rows = []
    lost = np.zeros((len(STAGES), len(names)), int)
    np.add.at(lost, (stage_of, np.arange(LOST) % len(names)), 1)
    for number, name in enumerate(names):
        kept = int((state == number).sum())
        for stage in reversed(range(len(STAGES))):
            away = int(lost[stage, number])
            row = {"stage": STAGES[stage], "state": name, "read": kept + away, "kept": kept}
            rows.append({**row, "rejected": away, "failed": 0})
            kept += away
    return pa.Table.from_pylist(rows, schema=FUNNEL.schema)


def open_report(browser: Browser, out: Path) -> None:
    page = browser.new_page(viewport={"width": 1240, "height": 760})
    clock = Clock(page)
    began = time.perf_counter()
    page.goto(out.as_uri())
    page.wait_for_selector("html[data-ready]")
    taken = 1000 * (time.perf_counter() - began)
    print(f"report in Chromium: ready after {taken:.0f} ms, {clock.read():.0f} ms of script")
    before = clock.read()
    page.select_option("#map-class", "65")
    page.wait_for_timeout(1500)
    print(f"  one class on the map: {clock.read() - before:.0f} ms of script")
    page.close()


def open_viewer(browser: Browser, root: Path) -> None:
    with ViewServer(site_of(root, (), None, (), 0, is_static=False)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = browser.new_page(viewport={"width": 1240, "height": 760})
        clock = Clock(page)
        began = time.perf_counter()
        page.goto(server.address)
        page.wait_for_selector("html[data-ready]")
        listed = len(server.site.answer("scenes.js").content)  # type: ignore[union-attr]
        taken = 1000 * (time.perf_counter() - began)
        print(f"viewer: list of {listed / 1e6:.2f} MB after {taken:.0f} ms, {clock.read():.0f} ms of script")
        for words, act in (
            ("one class", lambda: page.select_option("#by-class", "65")),
            ("one state", lambda: page.select_option("#by-state", "3")),
            ("a name", lambda: page.fill("#by-name", "w1000")),
            ("all again", lambda: page.click("#filter-form button")),
            ("50 pages on", lambda: [page.click("#page-on") for _ in range(50)]),
        ):
            before = clock.read()
            act()
            page.wait_for_timeout(300)
            print(f"  {words}: {clock.read() - before:.0f} ms of script; {page.inner_text('#found')}")
        print(f"  elements in the list: {page.locator('#list li').count()}")
        server.shutdown()
        thread.join()
        page.close()


class Clock:
    """Milliseconds of script, style and layout of a page; the browser counts from `Performance.enable` on."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def read(self) -> float:
        found = self._session.send("Performance.getMetrics")["metrics"]
        seconds = {entry["name"]: entry["value"] for entry in found}
        return 1000 * sum(
            seconds[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
        )


def children_cpu() -> float:
    import resource  # noqa: PLC0415 - not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def zipped(path: Path) -> int:
    import gzip  # noqa: PLC0415 - for one number

    return len(gzip.compress(path.read_bytes()))


if __name__ == "__main__":
    main()
