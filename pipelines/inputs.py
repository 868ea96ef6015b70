"""What a build was asked for, and the inputs it opens: OSM files, class map, imagery sources."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import REGION_CODE, states
from gl10m.storage.address import is_address
from gl10m.storage.cache import cache_folder
from gl10m.storage.contents import cached
from gl10m.storage.place import Place, object_at
from pipelines.execution.journal import key_of
from pipelines.execution.lock import WORK
from pipelines.region import Sources
from pipelines.sources.asset_urls import passing, redacted, unsigned
from pipelines.sources.demo import DemoImagery
from pipelines.sources.extracts import (
    Extract,
    existing,
    file_name,
    local_extract,
    pinned_extract,
    remote_extract,
)
from pipelines.sources.imagery import Imagery, Sensor
from pipelines.sources.kept_searches import KeptSearches
from pipelines.sources.osm_file import check_ending
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.planetary_computer import planetary_computer
from pipelines.sources.stac import StacImagery
from pipelines.sources.stac_geoparquet import (
    ItemFiles,
    TabledItems,
    item_files_at,
    local_items,
    remote_items,
)
from pipelines.world.server import serve

WORLD = "world"
"""Folder of the demo world inside a data set built with --source synthetic."""


OWN_COLLECTIONS = frozenset({"synthetic", "earth-engine"})
"""Sources whose collections cannot be chosen."""


class UnknownRegionError(ValueError):
    """A region that is none of the 11 states and has no OSM file of its own."""


class SourceError(ValueError):
    """The sources asked for do not go together, or one lacks what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What `gl10m build` was asked for."""

    root: Place
    """The data set."""
    regions: tuple[str, ...]
    """Region codes."""
    lr_source: str = "planetary-computer"
    """Source of Sentinel-2."""
    hr_source: str = "planetary-computer"
    """Source of NAIP."""
    stac_url: str | None = None
    """Root of the STAC API where a source is "stac"."""
    naip_collection: str = "naip"
    sentinel2_collection: str = "sentinel-2-l2a"
    items: tuple[str, ...] = ()
    """Files of items in place of searches: FILE for both sensors, SENSOR=FILE for one."""
    osm: tuple[str, ...] = ()
    """OSM files or their addresses: FILE for one region, CODE=FILE for several."""
    class_map: Path | None = None
    """The user's class map; the bundled one if None."""
    config: Path | None = None
    """TOML with a section for each stage."""
    workers: int | None = None
    """Worker processes on this machine; one a core if None."""
    scheduler: str | None = None
    """A running Dask cluster instead: its address, or its scheduler file."""
    limit: int | None = None
    """Scenes of a region at most; all if None."""
    dry_run: bool = False
    """Whether to stop before any pixel is read."""

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

    @property
    def imagery_licences(self) -> frozenset[str]:
        """Terms of the imagery, as keys of `gl10m.manifest.provenance.LICENCES`."""
        lr = "synthetic" if self.lr_source == "synthetic" else "sentinel-2"
        hr = "synthetic" if self.hr_source == "synthetic" else "naip"
        return frozenset({lr, hr})

    @property
    def collections(self) -> dict[Sensor, str]:
        """Collection id of each sensor."""
        return {Sensor.NAIP: self.naip_collection, Sensor.SENTINEL2: self.sentinel2_collection}


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
        OsmFileError: a name is not that of an OSM file, or a file is empty.
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
        files[code.upper()] = given_osm(name)
    unknown = [region for region in request.regions if region not in files and region not in states()]
    if unknown:
        raise UnknownRegionError(
            f"no such state: {', '.join(unknown)}. The 11 states of the paper are {', '.join(states())}; "
            "for any other region give its OSM file with --osm CODE=FILE."
        )
    return files


def given_osm(name: str) -> Path | str:
    """A file at hand, an object of a bucket copied to this machine, or an address that is read later.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: its name is not that of an OSM file, or it is empty.
        RefusedAddressError: an address that is no plain http or https one, nor in a bucket.
    """
    if "://" not in name:
        return existing(Path(name))
    if is_address(name):
        place = object_at(name)
        check_ending(place.name)  # before it is copied
        return existing(cached(place))
    file_name(unsigned(name))
    return name


def read_class_map(path: Path | None) -> ClassMap:
    """The class map of a build: the bundled one, or the user's.

    Raises:
        ClassMapError: the file is no class map.
    """
    return ClassMap.bundled() if path is None else ClassMap.from_file(path)


def find_extract(
    request: BuildRequest, region: str, files: dict[str, Path | str], patience: Patience = PATIENT
) -> Extract:
    """The OSM file of a region: given, rendered, or downloaded. A download is kept between builds.

    Raises:
        FileNotFoundError: a given file is not there.
        ExtractUnavailableError: the download failed.
        CacheError: it cannot be kept.
    """
    given = files.get(region)
    if given is not None:
        if isinstance(given, str):
            return remote_extract(given, cache_folder(), patience)
        return local_extract(given)
    if request.synthetic:
        demo = local_extract(request.world / "osm" / f"{region}.osm.pbf")
        return replace(demo, licence="synthetic")
    pin = request.root / WORK / "extracts" / f"{region}.json"
    return pinned_extract(region, cache_folder(), pin, patience)


def check_sources(request: BuildRequest) -> None:
    """Refuse options that no source would heed and files that are not there, before anything is begun.

    Raises:
        SourceError: a source lacks its address, or an address or a collection has no source that takes it; or
            --items names no sensor, or one twice.
        UnknownRegionError: the demo world has no such region.
        ItemFileError: a file of items is no Parquet file.
        FileNotFoundError: there is no file of items.
        RefusedAddressError: an address is no plain http or https address.
    """
    _check_demo_regions(request)
    for name in dict.fromkeys(_items_named(request).values()):
        if "://" in name:
            unsigned(name)
        else:
            item_files_at(Path(name))
    sources = {Sensor.SENTINEL2: request.lr_source, Sensor.NAIP: request.hr_source}
    if "stac" in sources.values():
        unsigned(_stac_url(request))
    elif request.stac_url is not None:
        named = " and ".join(sorted({*sources.values()}))
        raise SourceError(
            f"--stac-url is for --source stac; the source here is {named}. "
            "Add --source stac, or --lr-source stac for Sentinel-2 alone, or --hr-source stac for NAIP alone."
        )
    usual = BuildRequest(root=request.root, regions=()).collections
    for sensor, source in sources.items():
        chosen = request.collections[sensor] != usual[sensor]
        if chosen and source in OWN_COLLECTIONS and not request.items:
            raise SourceError(
                f"--{sensor.replace('-', '', 1)}-collection names a collection of a STAC API or of --items; "
                f"the source {source} has its own. Leave the option out."
            )


def _check_demo_regions(request: BuildRequest) -> None:
    unknown = [region for region in request.regions if region not in states()]
    if request.synthetic and unknown:
        raise UnknownRegionError(
            f"the demo world has the 11 states of the paper ({', '.join(states())}), not {', '.join(unknown)}"
        )


def _stac_url(request: BuildRequest) -> str:
    if request.stac_url is None:
        raise SourceError("--source stac needs the address of a STAC API: --stac-url https://host/stac/v1")
    return request.stac_url


def open_sources(
    request: BuildRequest,
    stack: contextlib.ExitStack,
    most_cloud_percent: float,
    patience: Patience = PATIENT,
) -> Sources:
    """Open the source of each sensor; the demo world is served for as long as the build runs.

    Args:
        request: what was asked for.
        stack: closes what was opened.
        most_cloud_percent: Sentinel-2 items with this much cloud or more need not be found.
        patience: how the network is asked.

    Raises:
        SourceError: a source lacks what it needs.
        SourceUnavailableError: Earth Engine does not answer, or nobody is signed in.
    """
    opened: dict[str, Imagery] = {}
    for name in {request.lr_source, request.hr_source}:
        source = _open(name, request, stack, patience)
        opened[name] = (
            _keeping(source, request, most_cloud_percent) if isinstance(source, StacImagery) else source
        )
    tables = _item_files(request, patience)
    lr, lr_catalogue = _found_in(request.lr_source, Sensor.SENTINEL2, opened, tables, request)
    hr, hr_catalogue = _found_in(request.hr_source, Sensor.NAIP, opened, tables, request)
    return Sources(
        lr=lr,
        lr_name=source_name(request.lr_source, request),
        lr_catalogue=lr_catalogue,
        hr=hr,
        hr_name=source_name(request.hr_source, request),
        hr_catalogue=hr_catalogue,
    )


def _found_in(
    source: str,
    sensor: Sensor,
    opened: dict[str, Imagery],
    tables: dict[Sensor, ItemFiles],
    request: BuildRequest,
) -> tuple[Imagery, str]:
    """A sensor's source, and the name of its catalogue: the source's own, or a file of items."""
    if sensor in tables:
        table, collection = tables[sensor], request.collections[sensor]
        return TabledItems(source=opened[source], tables=table, collection=collection), table.source
    return opened[source], f"{source_name(source, request)} {request.collections[sensor]}"


def _item_files(request: BuildRequest, patience: Patience) -> dict[Sensor, ItemFiles]:
    """The file of items of each sensor, where the user gave one: a path, a folder, or an address.

    Raises:
        SourceError: a name is no sensor, or a sensor has two files.
        FileNotFoundError: a file is not there.
        RefusedAddressError: an address is no plain http or https address.
        DownloadError: an address cannot be read.
    """
    named = _items_named(request)
    opened = {name: _item_file(name, patience) for name in set(named.values())}
    return {sensor: opened[name] for sensor, name in named.items()}


def _items_named(request: BuildRequest) -> dict[Sensor, str]:
    """What --items names for each sensor; nothing is opened.

    Raises:
        SourceError: a name is no sensor, or a sensor has two files.
    """
    found: dict[Sensor, str] = {}
    for given in request.items:
        code, sign, name = given.partition("=")
        named = sign and "/" not in code
        if named and code not in set(Sensor):
            raise SourceError(f"--items {given} names {code}; the sensors are {', '.join(Sensor)}")
        if named and not name:
            raise SourceError(f"--items {given} names no file; write --items {given}FILE")
        for sensor in [Sensor(code)] if named else list(Sensor):
            if sensor in found:
                raise SourceError(f"--items gives {sensor} two files; put them into one folder and give that")
            found[sensor] = name if named else given
    return found


def _item_file(name: str, patience: Patience) -> ItemFiles:
    return remote_items(name, cache_folder(), patience) if "://" in name else local_items(Path(name))


def _open(name: str, request: BuildRequest, stack: contextlib.ExitStack, patience: Patience) -> Imagery:
    if name == "planetary-computer":
        return planetary_computer(patience)
    if name == "earth-engine":
        # Imported here: its client library takes a third of a second, and the other sources need none of it.
        from pipelines.sources.earth_engine import EarthEngineImagery  # noqa: PLC0415 - see above

        imagery = EarthEngineImagery(patience=patience)
        imagery.sign_in()
        return imagery
    if name == "synthetic":
        address = stack.enter_context(serve(request.world))
        return DemoImagery(address, patience)
    return StacImagery(url=_stac_url(request), patience=patience)


def _keeping(api: StacImagery, request: BuildRequest, most_cloud_percent: float) -> Imagery:
    """An API in the collections asked for, its searches kept between builds if its address will last."""
    collections = request.collections
    source = replace(
        api,
        naip_collection=collections[Sensor.NAIP],
        sentinel2_collection=collections[Sensor.SENTINEL2],
        most_cloud_percent=most_cloud_percent,
    )
    if passing(api.url):
        return source
    name = " ".join([redacted(api.url), *collections.values(), f"under {most_cloud_percent} % cloud"])
    return KeptSearches(source=source, name=name, folder=cache_folder() / "searches")


def source_name(name: str, request: BuildRequest) -> str:
    """What stands for a source in keys and provenance: its address, without a query."""
    return str(request.stac_url).partition("?")[0] if name == "stac" else name
