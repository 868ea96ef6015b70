"""The demo world: the embedded default that needs no network, one piece of ground a state."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import states
from pipelines.world import catalogue
from pipelines.world.grids import QUARTER_DEGREES, QuarterQuad
from pipelines.world.layout import SiteMap
from pipelines.world.naip import Vintage
from pipelines.world.osm_writer import write_osm
from pipelines.world.plan import SITES
from pipelines.world.sentinel2 import Acquisition
from pipelines.world.world import WorldParameters, labelled_polygons, render_region

FIRST_ID = 100_000_000
"""Ids of a state begin at a multiple of this, so that no two objects of the demo world share one."""

PASSES = (
    # Before baseline 04.00 the counts carry no offset; its date keeps it out of every build.
    Acquisition(date(2021, 8, 21), "03.01", platform="A"),
    Acquisition(date(2023, 1, 12), "05.09", cloud_share=0.35),
    Acquisition(date(2023, 3, 18), "05.09", platform="A"),
    Acquisition(date(2023, 5, 22), "05.09", swath_share=0.55, orbit=70),
    Acquisition(date(2023, 7, 1), "05.09", cloud_share=0.08, platform="A"),
    Acquisition(date(2023, 8, 10), "05.09"),
    Acquisition(date(2023, 8, 10), "05.10", date(2024, 10, 17)),
    Acquisition(date(2023, 10, 29), "05.09"),
)
"""Sentinel-2 over every state: clear, cloudy, cut by the swath's edge, processed twice, too old."""

OLD_FLIGHT = date(2019, 7, 24)
"""NAIP from before the window of the build."""


def demo_world(regions: Sequence[str], out: Path) -> None:
    """Write the demo world of some states.

    A run that was cut short goes on where it stopped; the same states give the same bytes.

    Args:
        regions: codes of the paper's 11 states.
        out: folder of the world.

    Raises:
        ValueError: a code is not one of the 11.
        OSError: the folder cannot be written.
    """
    for region in sorted(set(regions)):
        demo_region(region, out)
    assemble(out)


def demo_region(region: str, out: Path) -> None:
    """Write one state's piece, without the joint catalogue: states may be written side by side.

    Raises:
        ValueError: the code is not one of the 11.
        OSError: the folder cannot be written.
    """
    if region not in SITES:
        raise ValueError(
            f"the demo world has the states {', '.join(sorted(states()))}; asked for {region!r}. "
            "Other regions need an OSM file of their own: `gl10m world --osm FILE --out DIR`."
        )
    class_map = ClassMap.bundled()
    osm = out / "osm" / f"{region}.osm.pbf"
    if not osm.exists():
        first_id = (1 + sorted(SITES).index(region)) * FIRST_ID
        write_osm(osm, SiteMap(region, class_map).features(), first_id)
    render_region(labelled_polygons(osm, region, class_map), out, region, class_map, demo_parameters(region))


def assemble(out: Path) -> None:
    """Join the catalogues of the states written by `demo_region`; harmless to repeat.

    Raises:
        OSError: the folder cannot be written.
    """
    catalogue.assemble(out)


def demo_parameters(region: str) -> WorldParameters:
    """What is flown over one state: 0.6 m over half of it, 1 m a year before over all, and an old flight.

    In every other state the flight at 1 m comes before 2022-07-02, with no Sentinel-2 of 2023 in 183 days.
    """
    site = SITES[region]
    row, column = round(site.south / QUARTER_DEGREES), round(site.west / QUARTER_DEGREES)
    quads = tuple(QuarterQuad(row + north, column + east) for north in (0, 1) for east in (0, 1))
    place = sorted(SITES).index(region)
    newest = date(2023, 5 + place % 5, 3 + 2 * place)
    before = date(2022, 5, 9 + place) if place % 2 else date(2022, 8, 9 + place)
    return WorldParameters(
        vintages=(
            Vintage(newest, 0.6, share=0.5),
            Vintage(before, 1.0, hole_metres=700.0, infrared_called_alpha=True),
            Vintage(OLD_FLIGHT, 1.0, share=0.25),
        ),
        acquisitions=PASSES,
        standing_cloud_metres=750.0,
        quads=quads,
    )
