"""Areas of a sorted .osm.pbf file: ours against everybody's, each in processes of its own.

    g++ -std=c++17 -O2 -o replicate_osm benchmarks/replicate_osm.cpp -lpthread -lz -lbz2 -lexpat
    ./replicate_osm BIG.osm.pbf 48 EXTRACT ...
    pip install pyrosm==0.25.0 quackosm==0.19.0 duckdb==1.5.5 duckdb-extension-spatial==1.5.5
    python benchmarks/osm_polygons.py BIG.osm.pbf [--only NAME ...]

CPU time is user + system of all threads and children, memory the largest resident set of any one process,
both by the kernel's account. The class map's tags are the filter everywhere. "ours, areas" ends as the C++
programme does, with ids, tags and WKB; "ours, stage" is the whole of `read_polygons`, with validity, repair,
geodesic areas and anchors. osmium-tool, GDAL and QuackOSM write files. A peer that cannot run is told with
its error.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import osm_peers

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Cost:
    cpu: float
    wall: float
    memory: float
    """GB."""
    output: str

    def then(self, other: "Cost") -> "Cost":
        """This process and another one after it."""
        memory = max(self.memory, other.memory)
        return Cost(self.cpu + other.cpu, self.wall + other.wall, memory, other.output or self.output)


def measured(*command: object) -> Cost:
    """What one process and its children cost, and the last line of its output."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        lines = [(file.seek(0), file.read().strip().splitlines())[1] for file in (out, log)]
    if process.returncode:
        raise RuntimeError(lines[1][-1] if lines[1] else f"exit status {process.returncode}")
    wall, cpu = time.monotonic() - begin, usage.ru_utime + usage.ru_stime
    return Cost(cpu, wall, usage.ru_maxrss / 1e6, lines[0][-1] if lines[0] else "")


def part(name: str) -> Callable[[Path, Path], Cost]:
    """A contestant in Python."""
    return lambda path, folder: measured(sys.executable, HERE / "osm_peers.py", name, path, folder)


def plain_libosmium(path: Path, folder: Path) -> Cost:
    programme, keys = folder / "areas", folder / "keys.txt"
    libraries = ["-lpthread", "-lz", "-lbz2", "-lexpat"]
    optimised = ["-std=c++17", "-O3", "-DNDEBUG", "-march=native", "-w"]
    measured("g++", *optimised, "-o", programme, HERE / "areas.cpp", *libraries)
    keys.write_text("\n".join(osm_peers.tokens("")) + "\n")
    return measured(programme, path, keys)


def osmium_tool(path: Path, folder: Path) -> Cost:
    chosen, areas = folder / "chosen.osm.pbf", folder / "areas.geojsonseq"
    filtering = measured(
        "osmium", "tags-filter", "--no-progress", path, *osm_peers.tokens("wr/"), "-o", chosen
    )
    kinds = ["--geometry-types=polygon", "--add-unique-id=type_id", "-f", "geojsonseq"]
    exporting = measured("osmium", "export", "--no-progress", *kinds, "-o", areas, chosen)
    with areas.open("rb") as file:
        count = sum(1 for _ in file)
    both = filtering.then(exporting)
    return Cost(both.cpu, both.wall, both.memory, f"{count} polygons of all ways that the filter leaves")


def gdal(path: Path, folder: Path) -> Cost:
    """ogr2ogr with the class map's keys as fields, so that its filter can look at them."""
    osm_peers.write_gdal_fields(folder / "osmconf.ini")
    options = ["-oo", f"CONFIG_FILE={folder / 'osmconf.ini'}", "-where", osm_peers.gdal_filter()]
    areas = folder / "areas.fgb"
    cost = measured("ogr2ogr", "-f", "FlatGeobuf", *options, areas, path, "multipolygons")
    count = (
        subprocess.run(["ogrinfo", "-so", "-al", areas], check=True, capture_output=True, text=True)
        .stdout.partition("Feature Count: ")[2]
        .split()[0]
    )
    return Cost(cost.cpu, cost.wall, cost.memory, f"{count} areas")


CONTESTANTS: dict[str, Callable[[Path, Path], Cost]] = {
    "ours, areas": part("areas"),
    "ours, stage": part("stage"),
    "libosmium, C++": plain_libosmium,
    "osmium-tool": osmium_tool,
    "pyosmium": part("pyosmium"),
    "GDAL": gdal,
    "pyrosm, cold": part("pyrosm"),
    "QuackOSM": part("quackosm"),
}


def report(path: Path, names: list[str]) -> None:
    size = path.stat().st_size / 1e6
    print(f"{path.name}: {size:.1f} MB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':15} {'CPU s':>8} {'wall s':>7} {'GB':>6}  CPU / areas  CPU / stage")
    costs: dict[str, Cost] = {}
    for name in names:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            try:
                cost = costs[name] = CONTESTANTS[name](path, Path(folder))
            except (RuntimeError, OSError) as error:
                print(f"{name:15} cannot run here: {error}", flush=True)
                continue
        ratios = [
            cost.cpu / costs[f"ours, {which}"].cpu
            for which in ("areas", "stage")
            if f"ours, {which}" in costs
        ]
        told = "".join(f"{ratio:13.2f}" for ratio in ratios) if len(ratios) == 2 else " " * 26
        print(
            f"{name:15} {cost.cpu:8.2f} {cost.wall:7.1f} {cost.memory:6.2f}{told}  {cost.output}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="sorted .osm.pbf")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    given = parser.parse_args()
    report(given.path, given.only)
