"""Puts the sections together and writes the page: what `gl10m report` does."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gl10m
from gl10m.manifest import parquet
from gl10m.report.page.class_section import class_section
from gl10m.report.page.date_section import date_section
from gl10m.report.page.facts import about, scenes, split_order, splits_of
from gl10m.report.page.funnel_section import funnel_section
from gl10m.report.page.ground_section import ground_section
from gl10m.report.page.markup import allowed, asset, embedded, inline, render
from gl10m.report.page.numbers import count
from gl10m.report.page.origin_section import origin_section
from gl10m.report.page.quality_section import quality_section
from gl10m.report.page.sample_section import sample_section
from gl10m.report.page.section import Section
from gl10m.report.page.together_section import together_section
from gl10m.scene.grid import TILES
from gl10m.storage.place import Place
from gl10m.store.layout import StoreError
from gl10m.store.reader import SceneNotFoundError, ShardNotFoundError
from gl10m.store.region_index import DataSetNotFoundError

SECTIONS: tuple[tuple[str, str, Callable[[Place], Section]], ...] = (
    ("funnel", "Funnel", funnel_section),
    ("classes", "Classes", class_section),
    ("map", "Map", ground_section),
    ("dates", "Dates", date_section),
    ("quality", "Cloud and black pixels", quality_section),
    ("together", "Classes together", together_section),
)
"""Anchor, title and maker of the sections before the samples."""

EXPLAINED = (
    parquet.ManifestError,
    parquet.ManifestNotFoundError,
    StoreError,
    DataSetNotFoundError,
    SceneNotFoundError,
    ShardNotFoundError,
)
"""What may be wrong with a part of a data set: its section says so, the others stand."""


def write_report(root: Place, out: Path, samples: int) -> int:
    """Write the report of a data set, whole or not at all; the same data set gives the same bytes.

    Args:
        root: the data set.
        out: the HTML file to make or replace.
        samples: scenes to show with pictures.

    Returns:
        Bytes written.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: its scenes manifest cannot be read at all.
        OSError: the file cannot be written.
    """
    page = report_page(root, samples).encode()
    with parquet.replacing(out) as temporary:
        temporary.write_bytes(page)
    return len(page)


def report_page(root: Place, samples: int) -> str:
    """The page; see `write_report`."""
    scenes(root, [])  # without a readable scenes manifest there is nothing to report on
    about(root)
    makers = [
        *SECTIONS,
        ("samples", "Sample scenes", lambda place: sample_section(place, samples)),
        ("origin", "Provenance and licences", origin_section),
    ]
    sections = [_explained(root, *entry) for entry in makers]
    style, script = asset("page.css") + asset("report.css"), asset("report.js")
    return render(
        "report.html.j2",
        title=f"GL-10M data set {root.resolve().name}",
        cards=_cards(root),
        sections=sections,
        payload=embedded({section.anchor: section.payload for section in sections if section.payload}),
        style=inline(style),
        script=inline(script),
        policy=f"default-src 'none'; img-src data:; style-src {allowed(style)}; script-src {allowed(script)}",
        version=gl10m.__version__,
    )


def _explained(root: Place, anchor: str, title: str, make: Callable[[Place], Section]) -> Section:
    try:
        return make(root)
    except EXPLAINED as error:
        words = "This part cannot be shown; the others can."
        return Section(anchor=anchor, title=title, about=words, notices=(str(error),))


def _cards(root: Place) -> list[tuple[str, str]]:
    """The figures at the head of the page: what it is, and the number."""
    try:
        table = scenes(root, ["scene_id", "state"])
        splits = splits_of(root, table["scene_id"])
    except parquet.ManifestError as error:
        return [("the data set cannot be counted", str(error))]
    states = len(set(table["state"].to_pylist()))
    cards = [
        ("scenes", count(table.num_rows)),
        ("HR tiles", count(table.num_rows * TILES)),
        ("states" if states != 1 else "state", count(states)),
    ]
    if splits is None:
        return [*cards, ("split", "not yet")]
    counted = Counter(splits.tolist())
    return [*cards, *((name, count(counted[name])) for name in split_order(splits.tolist()))]
