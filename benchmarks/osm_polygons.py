"""Areas of a sorted .osm.pbf file: ours against osmium-tool and against pyosmium, each in its own processes.

    python benchmarks/replicate_osm.py BIG.osm.pbf 36 EXTRACT ...
    python benchmarks/osm_polygons.py BIG.osm.pbf [--without-pyosmium]

CPU time is user + system of all threads, memory the largest resident set of any one process, both by the
kernel's account. osmium-tool gives GeoJSON without areas or anchors; "areas" does the same work (ids, tags,
geometry); "stage" is the whole of `read_polygons`, with validity, geodesic areas, anchors and WKB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import shapely

from gl10m.scene.class_map import ClassMap
from pipelines.sources.osm_areas import found_areas
from pipelines.stages.polygons import interest_of, read_areas, read_polygons


def measured(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds, GB and the last line of output of one process."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        output = out.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1e6,
        output.strip().splitlines()[-1] if output else "",
    )


def ours(path: Path, part: str) -> tuple[float, float, str]:
    return measured([sys.executable, __file__, str(path), "--part", part])


def osmium_tool(path: Path) -> tuple[float, float, str]:
    """Filter and export; the areas are counted outside of the account."""
    tokens = [f"wr/{key}" + (f"={value}" if value else "") for key, value in ClassMap.bundled().tokens]
    with tempfile.TemporaryDirectory() as folder:
        chosen, exported = f"{folder}/chosen.osm.pbf", Path(folder, "areas.geojsonseq")
        filtering = ["osmium", "tags-filter", "--no-progress", str(path), *tokens, "-o", chosen]
        kinds = ["--geometry-types=polygon", "--add-unique-id=type_id", "-f", "geojsonseq"]
        exporting = ["osmium", "export", "--no-progress", *kinds, "-o", str(exported), chosen]
        one, other = measured(filtering), measured(exporting)
        with exported.open("rb") as file:
            count = sum(1 for _ in file)
    return one[0] + other[0], max(one[1], other[1]), f"{count} polygons of all ways that the filter leaves"


def run(path: Path, part: str) -> None:
    class_map = ClassMap.bundled()
    if part == "stage":
        print(read_polygons(path, "CA", class_map).kept.num_rows, "areas kept")
    elif part == "areas":
        print(sum(len(shapely.to_wkb(part.geometry)) for part in read_areas(path, interest_of(class_map))), "areas")
    else:
        print(len(found_areas(path, interest_of(class_map)).geometry), "areas")


def report(path: Path, *, with_pyosmium: bool) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}")
    rows = {
        "ours, areas": ours(path, "areas"),
        "ours, stage": ours(path, "stage"),
        "osmium-tool": osmium_tool(path),
    }
    if with_pyosmium:
        rows["pyosmium"] = ours(path, "pyosmium")
    peer = rows["osmium-tool"][0]
    for name, (cpu, memory, what) in rows.items():
        print(f"{name:12} {cpu:7.2f} CPU s {memory:6.2f} GB {peer / cpu:5.2f} x osmium-tool  {what}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="sorted .osm.pbf")
    parser.add_argument("--without-pyosmium", action="store_true")
    parser.add_argument("--part", choices=["areas", "stage", "pyosmium"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run(given.path, given.part)
    else:
        report(given.path, with_pyosmium=not given.without_pyosmium)
