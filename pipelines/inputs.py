"""What a build was asked for, and the inputs it opens: OSM files, class map, imagery sources."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import REGION_CODE, states
from gl10m.storage.address import is_address
from gl10m.storage.cache import cache_folder
from gl10m.storage.place import Place, cached, object_at
from pipelines.execution.journal import key_of
from pipelines.execution.lock import WORK
from pipelines.region import Sources
from pipelines.sources.asset_urls import unsigned
from pipelines.sources.demo import DemoImagery
from pipelines.sources.extracts import (
    Extract,
    existing,
    local_extract,
    pinned_extract,
    remote_extract,
)
from pipelines.sources.imagery import Imagery
from pipelines.sources.planetary_computer import planetary_computer
from pipelines.sources.stac import StacImagery
from pipelines.world.server import serve

WORLD = "world"
"""Folder of the demo world inside a data set built with --source synthetic."""


class UnknownRegionError(ValueError):
    """A region that is none of the 11 states and has no OSM file of its own."""


class SourceError(ValueError):
    """The sources asked for do not go together, or one lacks what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What `gl10m build` was asked for."""

    root: Place
    regions: tuple[str, ...]
    source: str = "planetary-computer"
    lr_source: str = "planetary-computer"
    hr_source: str = "planetary-computer"
    stac_url: str | None = None
    osm: tuple[str, ...] = ()
    class_map: Path | None = None
    config: Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    limit: int | None = None
    dry_run: bool = False

    @property
    def world(self) -> Path:
        """Folder of the demo world: in the data set, or in the cache where that is in a bucket."""
        if isinstance(self.root, Path):
            return self.root / WORLD
        return cache_folder() / "worlds" / key_of(str(self.root))

    @property
    def synthetic(self) -> bool:
        """Whether the demo world stands in for any source."""
        return "synthetic" in {self.lr_source, self.hr_source}


def check_codes(regions: tuple[str, ...]) -> None:
    """Refuse what is no region code.

    Raises:
        UnknownRegionError: a code is not two letters, or there is none.
    """
    wrong = [region for region in regions if not REGION_CODE.fullmatch(region)]
    if wrong or not regions:
        raise UnknownRegionError(
            f"a state is two letters, such as CA; asked for {', '.join(wrong) or 'none'}. "
            f"The 11 states of the paper are {', '.join(states())}."
        )


def osm_files(request: BuildRequest) -> dict[str, Path | str]:
    """The OSM file of each region, where the user gave one: a path, or the address of a file.

    Raises:
        UnknownRegionError: a region has neither a file nor an extract to download.
        SourceError: a file cannot be told to a region.
        RefusedAddressError: an address is no plain http or https address.
        FileNotFoundError: a file is not there.
    """
    check_codes(request.regions)
    files: dict[str, Path | str] = {}
    for given in request.osm:
        code, sign, name = given.partition("=")
        if not sign or "://" in code:
            code, name = request.regions[0], given
            if len(request.regions) > 1:
                raise SourceError(
                    f"--osm {given} does not say which of {', '.join(request.regions)} it shows. "
                    f"Write --osm {request.regions[0]}={given}."
                )
        if code.upper() not in request.regions:
            raise SourceError(
                f"--osm {given} names {code}, which is not among --states {','.join(request.regions)}"
            )
        if code.upper() in files:
            raise SourceError(
                f"--osm gives {code.upper()} two files, {files[code.upper()]} and {name}. Join them first, "
                "for instance with `osmium merge`, or build them as two regions."
            )
        files[code.upper()] = _given(name)
    unknown = [region for region in request.regions if region not in files and region not in states()]
    if unknown:
        raise UnknownRegionError(
            f"no such state: {', '.join(unknown)}. The 11 states of the paper are {', '.join(states())}; "
            "for any other region give its OSM file with --osm CODE=FILE."
        )
    return files


def _given(name: str) -> Path | str:
    """A file at hand, an object of a bucket copied to this machine, or an address that is read later."""
    if is_address(name):
        return cached(object_at(name))
    if "://" not in name:
        return existing(Path(name))
    unsigned(name)
    return name


def read_class_map(path: Path | None) -> ClassMap:
    """The class map of a build: the bundled one, or the user's.

    Raises:
        ClassMapError: the file is no class map.
    """
    return ClassMap.bundled() if path is None else ClassMap.from_file(path)


def find_extract(request: BuildRequest, region: str, files: dict[str, Path | str]) -> Extract:
    """The OSM file of a region: given, rendered, or downloaded. A download is kept between builds.

    Raises:
        FileNotFoundError: a given file is not there.
        ExtractUnavailableError: the download failed.
        CacheError: it cannot be kept.
    """
    given = files.get(region)
    if given is not None:
        return remote_extract(given, cache_folder()) if isinstance(given, str) else local_extract(given)
    if request.synthetic:
        demo = local_extract(request.world / "osm" / f"{region}.osm.pbf")
        return replace(demo, licence="synthetic")
    return pinned_extract(region, cache_folder(), request.root / WORK / "extracts" / f"{region}.json")


def open_sources(request: BuildRequest, stack: contextlib.ExitStack) -> Sources:
    """Open the source of each sensor; the demo world is served for as long as the build runs."""
    opened: dict[str, Imagery] = {}
    for name in {request.lr_source, request.hr_source}:
        opened[name] = _open(name, request, stack)
    return Sources(
        lr=opened[request.lr_source],
        lr_name=_source_name(request.lr_source, request),
        hr=opened[request.hr_source],
        hr_name=_source_name(request.hr_source, request),
    )


def _open(name: str, request: BuildRequest, stack: contextlib.ExitStack) -> Imagery:
    if name == "planetary-computer":
        return planetary_computer()
    if name == "synthetic":
        address = stack.enter_context(serve(request.world))
        return DemoImagery(address)
    if request.stac_url is None:
        raise SourceError("--source stac needs the address of a STAC API: --stac-url https://host/stac/v1")
    return StacImagery(url=request.stac_url)


def _source_name(name: str, request: BuildRequest) -> str:
    """What stands for a source in keys and provenance: its address, without a query."""
    return str(request.stac_url).partition("?")[0] if name == "stac" else name
