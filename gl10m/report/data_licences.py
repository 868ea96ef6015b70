"""DATA_LICENCES.md: the terms of what is in a data set, of those sources alone that were used for it."""

from gl10m.report.facts import Facts
from gl10m.report.markdown import row, text

_HEAD = """# Licences of the data

<!-- Written by gl10m from the provenance in manifests/scenes.parquet; `gl10m card` writes it anew. -->

The code of gl10m is under the Apache License 2.0. The data keep the terms of their sources."""

_UNKNOWN = "The manifests do not say from what sources the data were made; ask who gave them to you."

_LABELS = """The classes of a scene and of its tiles (`class_ids`, `class_shares`, `labelled_share`,
`tile_labels`), its anchor and its footprint (`osm_id`, `anchor_class`, `longitude`, `latitude`,
`bounds`, `geometry`), and whatever is made of them, come from OpenStreetMap.

- **Attribution**: whoever shows or passes on the labels, or what was made with them, says
  "© OpenStreetMap contributors" and names the licence: https://www.openstreetmap.org/copyright
- **Share-alike**: the tables of labels are a derivative database. Whoever publishes them, changed
  or not, does so under the ODbL 1.0 and says so: https://opendatacommons.org/licenses/odbl/1-0/"""

_SENTINEL2 = """The LR images are made from Sentinel-2 Level-2A. The legal notice asks that
whoever passes them on says:

> Contains modified Copernicus Sentinel data {sentinel2_years}"""

_NAIP = """The HR tiles are cut from images of the National Agriculture Imagery Program,
{naip_years}. They are in the public domain. The USDA asks to be named as the source."""

_SYNTHETIC = "What comes from the demo world is rendered from made-up towns. It shows no real place."

_WHAT = {
    "osm": ("Labels: OpenStreetMap", _LABELS),
    "sentinel-2": ("LR images: Copernicus Sentinel-2", _SENTINEL2),
    "naip": ("HR images: NAIP", _NAIP),
    "synthetic": ("Demo world", _SYNTHETIC),
}
"""Title and text of each source, in the order of the page."""


def data_licences(facts: Facts) -> str:
    """The page as Markdown. The same manifests give the same bytes."""
    listed = [key for key in _WHAT if key in facts.licences]
    listed += [key for key in facts.licences if key not in _WHAT]
    parts = [_HEAD, *(_section(key, facts) for key in listed)] if listed else [_HEAD, _UNKNOWN]
    if regions(facts):
        parts += ["## What was read", _inputs(facts)]
    return "\n\n".join(parts) + "\n"


def _section(key: str, facts: Facts) -> str:
    licence = facts.licences[key]
    title, words = _WHAT.get(key, (licence.source, ""))
    said = words.format(sentinel2_years=_years(facts.sentinel2_days), naip_years=_years(facts.naip_days))
    terms = [
        f"- Source: {text(licence.source)}",
        f"- Terms: {text(licence.terms)}",
        f"- Attribution: {text(licence.attribution)}",
        f"- {text(licence.url)}",
    ]
    return "\n\n".join([f"## {text(title)}", "\n".join(terms), *([said] if said else [])])


def _inputs(facts: Facts) -> str:
    """One row a region: extract, its day, and where each sensor's images came from."""
    lines = [
        row("region", "OSM extract", "of", "Sentinel-2 from", "NAIP from"),
        row(*["---"] * 5),
    ]
    for region in regions(facts):
        told = [facts.inputs.get(f"{region}.{kind}", "") for kind in ("osm", "osm_date", "lr", "hr")]
        lines.append(row(text(region), text(told[0]), text(told[1] or "not told"), *map(text, told[2:])))
    return "\n".join(lines)


def regions(facts: Facts) -> list[str]:
    """Regions that were built, those without a scene included."""
    return sorted({name.partition(".")[0] for name in facts.inputs if "." in name})


def _years(days: tuple[object, object] | None) -> str:
    if days is None:
        return ""
    first, last = (str(day)[:4] for day in days)
    return first if first == last else f"{first}-{last}"
