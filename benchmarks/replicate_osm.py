"""Make one large sorted .osm.pbf of many copies of small extracts, with ids over the range of the real ones.

    python benchmarks/replicate_osm.py OUT.osm.pbf COPIES EXTRACT [EXTRACT ...]

Each copy of each extract has ids of its own, spread as far apart as the range of OSM's ids allows (12.5e9
nodes, 1.3e9 ways, 18e6 relations), and stays where it lies on the map: areas are assembled by id, not by
place.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import osmium
from numpy.typing import NDArray
from osmium.osm import NODE, RELATION, WAY

from pipelines.sources.osm_file import sorted_osm_file

RANGES = {"n": 12_500_000_000, "w": 1_300_000_000, "r": 18_000_000}
KINDS = {"n": NODE, "w": WAY, "r": RELATION}
Ids = dict[str, NDArray[np.int64]]


def ids_of(path: Path) -> Ids:
    """All ids that a file holds or refers to, ascending, by kind."""
    used: dict[str, set[int]] = {"n": set(), "w": set(), "r": set()}
    for entity in osmium.FileProcessor(str(path)):
        kind = entity.type_str()
        used[kind].add(entity.id)
        if kind == "w":
            used["n"].update(node.ref for node in entity.nodes)
        if kind == "r":
            for member in entity.members:
                used[member.type].add(member.ref)
    return {kind: np.array(sorted(numbers), np.int64) for kind, numbers in used.items()}


def drawn_together(ids: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    """New ids in the same order within a span: gaps between neighbours are kept up to a largest one."""
    gaps = np.diff(ids, prepend=ids[:1] - 1)
    low, high = 1, int(gaps.max(initial=1))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(gaps, middle).sum() < span else (low, middle - 1)
    return np.cumsum(np.minimum(gaps, low))


def copies(path: Path, kind: str, names: dict[str, dict[int, int]], shifts: list[dict[str, int]]) -> Iterator:
    """Objects of one kind under the ids of each copy."""
    for shift in shifts:
        for entity in osmium.FileProcessor(str(path), KINDS[kind]):
            number = names[kind][entity.id] + shift[kind]
            if kind == "n":
                yield entity.replace(id=number)
            elif kind == "w":
                yield entity.replace(id=number, nodes=[names["n"][n.ref] + shift["n"] for n in entity.nodes])
            else:
                members = [(m.type, names[m.type][m.ref] + shift[m.type], m.role) for m in entity.members]
                yield entity.replace(id=number, members=members)


def replicate(out: Path, count: int, extracts: list[Path]) -> None:
    header = osmium.io.Header()
    header.set("sorting", "Type_then_ID")
    with ExitStack() as stack:
        files = [stack.enter_context(sorted_osm_file(path)) for path in extracts]
        spans = {kind: span // (count * len(files)) for kind, span in RANGES.items()}
        names = []
        for file in files:
            ids = ids_of(file)
            new = {kind: drawn_together(ids[kind], spans[kind]) for kind in RANGES}
            names.append(
                {kind: dict(zip(ids[kind].tolist(), new[kind].tolist(), strict=True)) for kind in RANGES}
            )
        writer = stack.enter_context(osmium.SimpleWriter(str(out), header=header, overwrite=True))
        for kind in RANGES:
            for place, file in enumerate(files):
                slots = range(place * count, (place + 1) * count)
                shifts = [{other: slot * spans[other] for other in RANGES} for slot in slots]
                for entity in copies(file, kind, names[place], shifts):
                    writer.add(entity)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("copies", type=int)
    parser.add_argument("extracts", type=Path, nargs="+")
    given = parser.parse_args()
    replicate(given.out, given.copies, given.extracts)
