"""Builds a data set from every OSM file of a folder: imagery rendered from it, served by real servers.

    python -m scripts.build_extracts --extracts FOLDER --out OUT

For each file: `gl10m world` renders imagery and a catalogue, `LocalServers` serves them, `gl10m build` builds
from them through the installed command. A table at the end says what each one gave and cost. A file that
cannot be built does not stop the others; the exit status is then 1.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL
from scripts.local_servers import LocalServers

ENDINGS = (".osm.pbf", ".osm", ".osm.gz", ".osm.bz2")
REGION = "XX"
"""Region code of every extract: each is a data set of its own."""

COLUMNS = (
    "extract",
    "polygons",
    "candidates",
    "scenes",
    "failed",
    "render s",
    "build s",
    "searches",
    "requests",
    "MB",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one extract gave and cost; the order of the fields is that of COLUMNS."""

    extract: str
    polygons: int
    """Polygons kept by the stage `polygons`."""
    candidates: int
    """Candidates kept by the stage `subsampling`."""
    scenes: int
    """Complete pairs."""
    failed: int
    """Rows to try again, of all stages."""
    render_seconds: float
    build_seconds: float
    searches: int
    """Pages of item searches that the STAC API answered."""
    requests: int
    """Requests for pixels that nginx answered."""
    megabytes: float
    """Bodies of those answers, 10^6 bytes."""


class CommandError(RuntimeError):
    """A command of gl10m did not end with status 0."""


def gl10m(*arguments: str | Path) -> str:
    """Run the installed command.

    Returns:
        What it printed on standard output.

    Raises:
        FileNotFoundError: gl10m is not installed beside this Python.
        CommandError: its exit status was not 0; the message holds the end of what it said.
    """
    program = shutil.which("gl10m", path=str(Path(sys.executable).parent))
    if program is None:
        raise FileNotFoundError(
            f"no command gl10m beside {sys.executable}; run: pip install 'gl10m[servers]'"
        )
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(map(str, arguments))
        raise CommandError(f"gl10m {words}: exit status {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout


def build_extract(extract: Path, out: Path, limit: int | None = None) -> Row:
    """Render, serve and build one extract into OUT/{world,servers,dataset}.

    Raises:
        CommandError: rendering or building failed.
        OSError: the servers need programs that are not installed, or `out` cannot be written.
        ServerError: a server does not start or end.
        WorldError: what was rendered cannot be served.
    """
    world, root = out / "world", out / "dataset"
    begun = time.monotonic()
    gl10m("world", "--osm", extract, "--out", world, "--state", REGION)
    rendered = time.monotonic()
    with LocalServers(world, out / "servers") as servers:
        served = time.monotonic()
        source = ("--source", "stac", "--stac-url", servers.stac_url)
        at_most = () if limit is None else ("--limit", str(limit))
        gl10m("build", "--states", REGION, "--osm", extract, *source, *at_most, "--root", root)
        built = time.monotonic()
        requests = servers.requests()
        searches = servers.searches()
    kept, failed = _funnel(root)
    return Row(
        extract=extract.name,
        polygons=kept["polygons"],
        candidates=kept["subsampling"],
        scenes=kept["consistency"],
        failed=failed,
        render_seconds=rendered - begun,
        build_seconds=built - served,
        searches=searches,
        requests=len(requests),
        megabytes=sum(request.sent for request in requests) / 1e6,
    )


def _funnel(root: Path) -> tuple[dict[str, int], int]:
    """Rows kept by each stage, and rows failed in all of them."""
    funnel = parquet.read(root / "manifests/funnel.parquet", FUNNEL)
    stages = funnel.to_pylist()
    return {stage["stage"]: stage["kept"] for stage in stages}, sum(stage["failed"] for stage in stages)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    for row in rows:
        cells = [f"{cell:.1f}" if isinstance(cell, float) else f"{cell}" for cell in astuple(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def extracts_in(folder: Path) -> dict[str, Path]:
    """OSM files of a folder by name without their ending, smallest first.

    Raises:
        OSError: there is none, or no such folder.
        ValueError: two files have one name, and would be built into one folder.
    """
    files = [path for path in folder.iterdir() if path.name.endswith(ENDINGS) and path.is_file()]
    if not files:
        raise FileNotFoundError(f"no OSM file ({', '.join(ENDINGS)}) in {folder}")
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: (path.stat().st_size, path.name)):
        ending = next(ending for ending in ENDINGS if path.name.endswith(ending))
        other = found.setdefault(path.name.removesuffix(ending), path)
        if other != path:
            raise ValueError(f"one file a name; {other.name} and {path.name} have the same. Move one away.")
    return found


def main() -> int:
    """Build every extract and print the table."""
    parser = argparse.ArgumentParser(description="Build every OSM file of a folder against real servers.")
    parser.add_argument("--extracts", type=Path, required=True, help="folder of OSM files")
    parser.add_argument("--out", type=Path, required=True, help="folder for worlds and data sets")
    parser.add_argument("--limit", type=int, help="at most this many scenes an extract")
    arguments = parser.parse_args()
    try:
        extracts = extracts_in(arguments.extracts)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    rows = []
    for name, extract in extracts.items():
        try:
            rows.append(build_extract(extract, arguments.out / name, arguments.limit))
        except (OSError, RuntimeError, ValueError) as error:
            print(f"{extract.name}: {error}", file=sys.stderr, flush=True)
    print(table(rows))
    return 0 if len(rows) == len(extracts) else 1


if __name__ == "__main__":
    sys.exit(main())
