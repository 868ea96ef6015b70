"""Who made the data set from what, and under which terms it may be used."""

import json
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from gl10m.manifest import parquet
from gl10m.report.page.facts import about
from gl10m.report.page.markup import render
from gl10m.report.page.numbers import count
from gl10m.report.page.section import DataTable, Figure, Section
from gl10m.storage.place import Place, below
from gl10m.store.layout import INDEXES
from gl10m.store.region_index import open_index


def origin_section(root: Place) -> Section:
    """Versions, inputs, configuration, shards and licences.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged.
        StoreError: an index is damaged.
    """
    said = about(root)
    inputs = said.get("gl10m.inputs", {})
    versions = [
        ("gl10m that built it", said.get("gl10m.version")),
        ("paper", said.get("gl10m.paper")),
        *_split_rule(root),
    ]
    shards = _shards(root)
    return Section(
        anchor="origin",
        title="Provenance and licences",
        about="All of this stands in the metadata of the manifests and shards: it travels with the files.",
        body=Markup(  # noqa: S704 - rendered with autoescape
            render(
                "origin.html.j2",
                licences=_licences(said.get("gl10m.licences", {})),
                configuration=json.dumps(said.get("gl10m.configuration", {}), indent=2, sort_keys=True),
            )
        ),
        figures=(
            Figure(
                title="Versions and inputs",
                drawing=None,
                table=DataTable(
                    caption="Versions and inputs",
                    head=("what", "version, digest or address"),
                    rows=[
                        *((name, str(value)) for name, value in versions if value),
                        *((str(name), str(value)) for name, value in sorted(inputs.items())),
                    ],
                    open=True,
                ),
                wide=True,
            ),
            Figure(
                title="Shards",
                drawing=None,
                note=f"{len(shards)} shards, {count(sum(size for _, size, _ in shards))} bytes."
                if shards
                else "No index stands here: the images are elsewhere, or there is none.",
                table=DataTable(caption="Shards", head=("shard", "bytes", "SHA-256"), rows=shards)
                if shards
                else None,
                wide=True,
            ),
        ),
    )


def _split_rule(root: Place) -> list[tuple[str, str | None]]:
    path = root / "manifests" / "splits.parquet"
    if not path.exists():
        return [("split", "not split yet")]
    said = parquet.metadata_of(path)
    return [("split by", said.get("gl10m.split")), ("seed of the split", said.get("gl10m.split_seed"))]


def _shards(root: Place) -> list[tuple[str, int, str]]:
    return [
        (shard.name, shard.size, shard.sha256)
        for path in below(root / INDEXES, "[A-Z][A-Z].arrow")
        for shard in open_index(path).shards
    ]


def _licences(found: dict[str, Any]) -> list[dict[str, str]]:
    """Terms of each source; an address is a link only where it is one of the web."""
    licences = []
    for name, terms in sorted(found.items()):
        texts = {key: str(value) for key, value in terms.items()} if isinstance(terms, dict) else {}
        link = texts.get("url", "") if urlsplit(texts.get("url", "")).scheme in {"http", "https"} else ""
        licences.append({**texts, "name": str(name), "link": link})
    return licences
