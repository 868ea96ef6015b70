"""What 10^5, 10^6 and 10^7 scenes take, stage by stage, from measured unit costs; prints the tables of docs/scale.md.

    python -m benchmarks.scale [--workers 64] [--provider-gbit 60] [--price-core-hour 0.04] [--price-tb-month 23]

Each unit cost names the page that it was measured on. What is assumed says so. Nothing is run at these sizes.
"""

import argparse
from dataclasses import dataclass

SIZES = (104_020, 1_000_000, 10_000_000)
"""Complete scenes: the paper's 11 states, the contiguous United States and more, the world."""

INDEXED, CANDIDATES, COMPLETE = 319_060, 273_250, 104_020
"""Table 5 of the paper: their ratios are kept at every size (manifests/published_counts.json)."""

DAYS_A_MONTH, SECONDS_AN_HOUR = 30.4, 3600


@dataclass(frozen=True)
class Unit:
    value: float
    unit: str
    origin: str


UNITS = {
    "OSM": Unit(76, "CPU s a GB of extract", "benchmarks/osm.md: 91 s for 1,187 MB"),
    "OSM memory": Unit(1.7, "GB a GB of extract, and 0.4", "benchmarks/osm.md, stated bound"),
    "extract": Unit(48, "kB of extract a scene", "assumed: 5 GB for 11 states"),
    "footprints": Unit(1.01e-3, "CPU s a candidate", "benchmarks/footprints.md, a million anchors"),
    "footprint memory": Unit(
        67e3, "B a candidate of one region", "benchmarks/footprints.md: 3.18 GiB, 47,651 kept"
    ),
    "searches": Unit(141 / 273_251, "requests a candidate", "benchmarks/metadata.md"),
    "search bytes": Unit(73e6 / 273_251, "B a candidate", "benchmarks/metadata.md"),
    "index and join": Unit(
        (8.1 + 2.3) / 273_251, "CPU s a candidate", "benchmarks/metadata.md, with coverage"
    ),
    "LR requests": Unit(4.5, "requests a candidate", "benchmarks/imagery.md"),
    "LR bytes": Unit(1.31e6, "B a candidate", "benchmarks/imagery.md"),
    "HR requests": Unit(13.3, "requests a scene", "benchmarks/imagery.md"),
    "HR bytes": Unit(49.5e6, "B a scene", "benchmarks/imagery.md"),
    "complete": Unit(0.441, "CPU s a scene", "benchmarks/scheduling.md, 164 scenes"),
    "ruled out": Unit(0.066, "CPU s a candidate", "benchmarks/scheduling.md, 39 scenes"),
    "publish": Unit(0.015, "s a scene, one process", "benchmarks/scheduling.md"),
    "task": Unit(0.0035, "CPU s of the scheduler a task", "benchmarks/scheduling.md"),
    "batch": Unit(32, "scenes a task", "decisions/0013"),
    "worker": Unit(576, "MiB a worker, at most", "benchmarks/scheduling.md"),
    "stored": Unit(3.43e6, "B a scene", "`gl10m plan`, richly textured imagery"),
    "index": Unit(1.86e3, "B a scene", "benchmarks/loader.md: 193 MB for 104,020"),
    "opening": Unit(0.42 / 104_020, "CPU s a scene", "benchmarks/loader.md, seal checked"),
    "split": Unit(1.0 / 104_020, "CPU s a scene", "docs/splits.md, by block"),
    "split memory": Unit(378e6 / 104_020, "B a scene", "docs/splits.md"),
    "decode": Unit(0.0428, "CPU s a scene", "benchmarks/loader.md, `GL10MStream`, whole scenes"),
}


@dataclass(frozen=True)
class Asked:
    workers: int
    provider_gbit: float
    price_core_hour: float
    price_tb_month: float


def of(name: str) -> float:
    return UNITS[name].value


def stages(scenes: float, asked: Asked) -> list[tuple[str, str, str, str, str, str]]:
    """Stage, requests, bytes, CPU hours, wall hours, memory; the wall with the workers asked for."""
    candidates = scenes * CANDIDATES / COMPLETE
    extract = scenes * of("extract") * 1e3
    rejected = candidates - scenes
    cpu_imagery = scenes * of("complete") + rejected * of("ruled out")
    fetched = candidates * of("LR bytes") + scenes * of("HR bytes")
    line = fetched * 8 / (asked.provider_gbit * 1e9)
    cores = min(asked.workers, 48)  # a region is read by one worker, and there are some 48 at the first size
    rows = [
        ("OSM polygons", 0.0, extract, extract / 1e9 * of("OSM"), cores, f"{0.4 + of('OSM memory') * extract / 1e9 / 11:,.1f} GB a region of 11"),
        ("classes, footprints, labels", 0, 0, candidates * of("footprints"), cores, f"{candidates / 11 * of('footprint memory') / 1e9:,.1f} GB a region of 11"),
        ("items, coverage, matching", candidates * of("searches"), candidates * of("search bytes"), candidates * of("index and join"), 1, "-"),
        ("imagery, checks, encoding", candidates * of("LR requests") + scenes * of("HR requests"), fetched, cpu_imagery, asked.workers, f"{asked.workers * of('worker') / 1024:,.0f} GiB of workers"),
        ("scheduling", 0, 0, candidates / of("batch") * of("task"), 1, "0.3 GiB"),
        ("publishing", 0, scenes * of("stored"), scenes * of("publish"), 1, "-"),
        ("splitting", 0, 0, scenes * of("split"), 1, f"{scenes * of('split memory') / 1e9:,.1f} GB"),
        ("opening in a loader", 0, scenes * of("index"), scenes * of("opening"), 1, f"{scenes * of('index') / 1e9:,.2f} GB mapped"),
        ("an epoch of whole scenes", 0, scenes * of("stored"), scenes * of("decode"), asked.workers, "-"),
    ]  # fmt: skip
    told = []
    for name, requests, size, cpu, share, memory in rows:
        wall = max(cpu / share, line if name.startswith("imagery") else 0)
        told.append((name, number(requests), bytes_of(size), hours(cpu), hours(wall), memory))
    return told


def number(value: float) -> str:
    return "-" if not value else f"{value:,.0f}" if value < 1e5 else f"{value / 1e6:,.2f} M"


def bytes_of(value: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.3g} {unit}"
    return "-"


def hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < SECONDS_AN_HOUR else f"{seconds / SECONDS_AN_HOUR:,.1f} h"


def price(scenes: float, asked: Asked) -> tuple[str, str]:
    """What the cores of a build and a month of its store cost, dollars."""
    candidates = scenes * CANDIDATES / COMPLETE
    cpu = scenes * (of("complete") + of("publish")) + (candidates - scenes) * of("ruled out")
    cpu += candidates * (of("footprints") + of("index and join")) + scenes * of("extract") * 1e-6 * of("OSM")
    stored = scenes * of("stored") / 1e12 * asked.price_tb_month
    return f"{cpu / SECONDS_AN_HOUR * asked.price_core_hour:,.2f}", f"{stored:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--provider-gbit", type=float, default=60.0, help="assumed: no provider promises it")
    parser.add_argument("--price-core-hour", type=float, default=0.04, help="dollars, assumed")
    parser.add_argument("--price-tb-month", type=float, default=23.0, help="dollars, assumed")
    asked = Asked(**vars(parser.parse_args()))
    for scenes in SIZES:
        cores, store = price(scenes, asked)
        print(f"\n### {scenes:,} scenes, {scenes * CANDIDATES / COMPLETE:,.0f} candidates\n")
        print("| stage | requests | bytes | CPU | wall | memory |\n|---|--:|--:|--:|--:|---|")
        for row in stages(scenes, asked):
            print(f"| {' | '.join(row)} |")
        print(f"\nCores ${cores}; the store ${store} a month.")
    print("\n### Unit costs\n\n| what | cost | from |\n|---|---|---|")
    for name, unit in UNITS.items():
        print(f"| {name} | {unit.value:.4g} {unit.unit} | {unit.origin} |")


if __name__ == "__main__":
    main()
