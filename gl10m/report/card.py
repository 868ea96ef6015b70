"""The dataset card, README.md, and DATA_LICENCES.md: builds and splits write them, from the manifests alone.

The same manifests give the same bytes, wherever the data set lies.
"""

from collections.abc import Sequence

from gl10m.manifest.parquet import replacing, sweep
from gl10m.report.data_licences import data_licences
from gl10m.report.facts import UNSPLIT, Facts, facts_of
from gl10m.report.hub import Configuration, front_matter, native_configurations, splits_by_region
from gl10m.report.markdown import row, text
from gl10m.storage.place import Place

README, LICENCES = "README.md", "DATA_LICENCES.md"

MARK = "<!-- Written by gl10m"
"""Begins a line of what gl10m wrote; a file without it is the user's own and is left alone."""

MAX_CARD_BYTES = 1 << 20
"""A longer file is nobody's card."""

ABOUT = (
    "Scenes of one Sentinel-2 image and 100 tiles of NAIP over the same ground, labelled with the "
    "OpenStreetMap classes in it."
)

_PAPER = """Each image and each tile has 268 x 268 pixels, 10 m and 1 m, over a square of 0.024
degrees. Built as in [Observe Less, Understand More](https://arxiv.org/abs/2604.11415) by gl10m
VERSION."""

_LOADING = """```python
from gl10m import GL10MDataset

scenes = GL10MDataset("PATH", tiles=12)  # LR and 12 HR tiles of each scene; no other byte is read
```

Without gl10m, with `datasets` (or pyarrow, DuckDB, Polars: the shards are ordinary Parquet):

```python
from datasets import load_dataset

scenes = load_dataset("PATH", split="SPLIT", streaming=True)  # `lr` is an image, `hr` a list of 100
names = load_dataset("PATH", "scenes")  # one row a scene, no pixel
```"""

_PIXELS = """Tile = 10 * row + column, row 0 in the north, column 0 in the west. EPSG:4326; near 40
degrees north a pixel is 1.3 times as high as wide on the ground."""

_LIMITS = """Labels are what OpenStreetMap maps as areas: a class that is not mapped is not
labelled. The images of a scene are up to a year apart; `days_between` tells how far. Scenes may
overlap: `nearest_scene` and `shared_ground` tell. Images from above may show people's homes and
property."""

CITATION = """```bibtex
@article{xie2026observe,
  title   = {Observe Less, Understand More: Cost-aware Cross-scale Observation for Remote Sensing
             Understanding},
  author  = {Xie, Zhenghao and Xiao, Jing and Wang, Zhenqi and Ma, Kexin and Liao, Liang and
             Xia, Gui-Song and Wang, Mi},
  journal = {arXiv preprint arXiv:2604.11415},
  year    = {2026}
}
```"""

_UNSPLIT = f"""Not split, or not all of it; all scenes are in the split `{UNSPLIT}`. `gl10m split`
splits as the paper does, or by a rule of yours."""

_ACROSS = f"""These splits cut through regions, and shards belong to regions. A reader of the shards
sees all scenes as `{UNSPLIT}` and joins `manifests/splits.parquet` by `scene_id`; `gl10m export
huggingface` writes files of each split."""


def write_card(root: Place) -> list[str]:
    """Write README.md and DATA_LICENCES.md of a data set; what says so already is not written again.

    Args:
        root: the data set.

    Returns:
        Names of files that are somebody's own and were left alone.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
        StoreError: an index is damaged.
        OSError: the folder cannot be written.
    """
    facts = facts_of(root)
    kept = []
    for name, content in ((README, native_card(facts)), (LICENCES, data_licences(facts))):
        sweep(root / name)
        stands = _standing(root / name)
        if stands is not None and MARK not in stands:
            kept.append(name)
        elif stands != content:
            with replacing(root / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
    return kept


def native_card(facts: Facts) -> str:
    """The card of a data set as `gl10m build` lays it out."""
    words = _LOADING.replace("SPLIT", _first_split(facts))
    return card(facts, native_configurations(facts), words, _native_splits(facts))


def card(facts: Facts, configurations: Sequence[Configuration], loading: str, splits: str) -> str:
    """A card.

    Args:
        facts: of the scenes it tells of.
        configurations: tables that `datasets` shall find.
        loading: how to read it, Markdown.
        splits: what to know of the splits, Markdown.

    Returns:
        Markdown with front matter.
    """
    parts = [
        front_matter(facts, configurations),
        f"{MARK} {text(facts.version)} from the manifests; delete this line to keep what you change. -->",
        "# GL-10M",
        ABOUT,
        _PAPER.replace("VERSION", text(facts.version)),
        _counts(facts),
        "## Read it",
        loading,
        _PIXELS,
        "## Splits",
        splits,
        "## Classes",
        _classes(facts),
        "## Limits",
        _LIMITS,
        "## Licences",
        _licences(facts),
        "## Citation",
        CITATION,
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _standing(path: Place) -> str | None:
    """What stands there; a text without the mark where it is no card of ours."""
    if not path.exists():
        return None
    if not path.is_file() or path.stat().st_size > MAX_CARD_BYTES:
        return ""
    return path.read_bytes().decode("utf-8", errors="replace")


def _first_split(facts: Facts) -> str:
    (first, *_) = native_configurations(facts) or [Configuration("default", {UNSPLIT: []})]
    return min(first.files, key=lambda name: (name != "train", name))


def _counts(facts: Facts) -> str:
    lines = [row("", "scenes"), row("---", "---:")]
    lines += [row(text(state), f"{count:,}") for state, count in facts.states.items()]
    lines.append(row("all", f"{facts.scenes:,}"))
    days = [("NAIP", facts.naip_days), ("Sentinel-2", facts.sentinel2_days)]
    told = [f"{name} {found[0]} to {found[1]}" for name, found in days if found]
    return "\n".join(lines) + (f"\n\nDays of the images: {', '.join(told)}." if told else "")


def split_table(facts: Facts) -> str:
    """Scenes and regions of each split, Markdown."""
    if not facts.splits:
        return _UNSPLIT
    lines = [row("split", "scenes", "regions"), row("---", "---:", "---")]
    for name, held in facts.splits.items():
        lines.append(row(text(name), f"{sum(held.values()):,}", text(", ".join(held))))
    return "\n".join(lines)


def _native_splits(facts: Facts) -> str:
    if not facts.splits or splits_by_region(facts):
        return split_table(facts)
    return f"{split_table(facts)}\n\n{_ACROSS}"


def _classes(facts: Facts) -> str:
    lines = [row("id", "class", "scenes"), row("---:", "---", "---:")]
    for number, (name, count) in enumerate(zip(facts.class_names, facts.class_counts, strict=True)):
        lines.append(row(str(number), text(name), f"{count:,}"))
    return "\n".join(lines)


def _licences(facts: Facts) -> str:
    lines = [
        f"- {text(licence.source)}: {text(licence.attribution)}. {text(licence.terms)}."
        for licence in facts.licences.values()
    ]
    return "\n".join(
        [*lines, "", f"[{LICENCES}]({LICENCES}) tells more, and from which extracts and catalogues."]
    )
