"""Options that several commands of a build share, and the request that comes of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gl10m.storage.place import Place
    from pipelines.inputs import BuildRequest


class Listed(click.ParamType[tuple[str, ...]]):
    """Values by commas or by repetition: --states CA,TX is --states CA --states TX."""

    name = "list"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> tuple[str, ...]:
        """Split one argument."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


FILE = click.Path(dir_okay=False, path_type=Path)


class InputFile(click.ParamType[Path]):
    """A file, or an object of a bucket, which is copied to this machine."""

    name = "file or address"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Read one argument."""
        from gl10m.storage.address import is_address
        from gl10m.storage.contents import cached
        from gl10m.storage.place import object_at

        if isinstance(value, str) and is_address(value):
            return cached(object_at(value))
        return Path(os.fsdecode(FILE.convert(value, param, ctx)))


_INPUT = InputFile()
FOLDER = click.Path(file_okay=False, path_type=Path)
_SOURCES = click.Choice(["planetary-computer", "earth-engine", "stac", "synthetic"])

states_option = click.option(
    "--states",
    type=Listed(),
    multiple=True,
    required=True,
    help="State codes: CA,TX. With --osm, any two letters.",
)
osm_option = click.option(
    "--osm",
    type=str,
    multiple=True,
    help="OSM file (.osm.pbf, .osm, .osm.gz, .osm.bz2) or its http(s), s3, gs or az address: FILE for one "
    "state, CODE=FILE for several. Without it the states' extracts are downloaded from Geofabrik, once, "
    "and kept.",
)
class_map_option = click.option(
    "--class-map", type=_INPUT, help="Your own class map, a file or s3://...; the 66 classes if not given."
)
source_option = click.option(
    "--source",
    type=_SOURCES,
    default="planetary-computer",
    show_default=True,
    help="Where imagery comes from. earth-engine needs `earthengine authenticate`, or a service account's "
    "key in GOOGLE_APPLICATION_CREDENTIALS, and a project in EARTHENGINE_PROJECT: docs/earth-engine.md.",
)
stac_url_option = click.option("--stac-url", help="Address of the STAC API for --source stac.")
_collection_options = (
    click.option(
        "--naip-collection", default="naip", show_default=True, help="Collection of NAIP at --stac-url."
    ),
    click.option(
        "--sentinel2-collection",
        default="sentinel-2-l2a",
        show_default=True,
        help="Collection of Sentinel-2 L2A at --stac-url; sentinel-2-c1-l2a at Earth Search.",
    ),
    click.option(
        "--items",
        multiple=True,
        help="stac-geoparquet file or folder, or its http(s) address, in place of searches: FILE for both "
        "sensors, naip=FILE or sentinel-2=FILE for one.",
    ),
)
limit_option = click.option(
    "--limit", type=click.IntRange(1), help="At most this many scenes a state, chosen by identity."
)
config_option = click.option("--config", type=_INPUT, help="TOML with a section for each stage.")


def catalogue_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where items are looked for."""
    for option in reversed(_collection_options):
        command = option(command)
    return command


def flat(values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Region codes of --states in capital letters, each once, in the order they were given."""
    return tuple(dict.fromkeys(part.upper() for value in values for part in value))


_build_options = (
    source_option,
    click.option("--lr-source", type=_SOURCES, help="Another source for Sentinel-2 alone."),
    click.option("--hr-source", type=_SOURCES, help="Another source for NAIP alone."),
    stac_url_option,
    catalogue_options,
    osm_option,
    class_map_option,
    config_option,
    click.option(
        "--workers", type=click.IntRange(1), help="Worker processes on this machine; one a core by default."
    ),
    click.option(
        "--scheduler",
        help="A running Dask cluster instead: its address, tcp://host:8786 or tls://host:8786, or the file "
        "of `dask scheduler --scheduler-file`. Recipes for Slurm, Kubernetes and ssh: docs/clusters.md.",
    ),
    limit_option,
)


def options_of_build(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a build is asked for, all but the states."""
    for option in reversed(_build_options):
        command = option(command)
    return command


def request_of(root: "Place", asked: dict[str, Any]) -> "BuildRequest":
    """What a build was asked for, from the options of its command."""
    from pipelines.inputs import BuildRequest

    return BuildRequest(
        root=root,
        regions=flat(asked["states"]),
        lr_source=asked["lr_source"] or asked["source"],
        hr_source=asked["hr_source"] or asked["source"],
        stac_url=asked["stac_url"],
        naip_collection=asked["naip_collection"],
        sentinel2_collection=asked["sentinel2_collection"],
        items=asked["items"],
        osm=asked["osm"],
        class_map=asked["class_map"],
        config=asked["config"],
        workers=asked["workers"],
        scheduler=asked["scheduler"],
        limit=asked["limit"],
        dry_run=asked["dry_run"],
    )


def refuse_if_locked(root: "Place") -> None:
    """Refuse beside another build at once: importing an engine takes seconds."""
    from pipelines.execution.lock import check_free
    from pipelines.execution.redaction import Guarded

    Guarded(check_free)(root)
