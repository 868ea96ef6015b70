"""The verbatim items of two real archives through search, index, signing and match, without a special case.

No real NAIP item at hand lies inside a real Sentinel-2 item. What is matched are therefore edited copies of
verbatim items: the NAIP quads keep all they say, and each Sentinel-2 item is moved over them and dated into
2023. Nothing else of them is changed, so that both dialects, all baselines and all asset names take part.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import shapely
from planetary_computer.settings import Settings
from shapely.geometry import mapping, shape

from gl10m.manifest.columns import values
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources import signing
from pipelines.sources.imagery import Sensor
from pipelines.sources.item_index import area_of, find_items
from pipelines.sources.signing import Signer
from pipelines.sources.stac import StacImagery
from pipelines.stages.matching import MatchParameters, match
from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.ruler import candidate
from tests.pipelines.test_stac import real

DIALECTS = {
    "Planetary Computer": "sentinel-2-l2a_items.ndjson",
    "Earth Search": "earth-search_sentinel-2-c1-l2a_items.ndjson",
}


def moved(items: list[dict[str, Any]], ground: shapely.Polygon, first: date) -> list[dict[str, Any]]:
    """Copies of items over another ground, one every five days, none cloudy but the last."""
    copies = []
    for number, item in enumerate(items):
        day = first + timedelta(days=5 * number)
        properties = {**item["properties"], "datetime": f"{day}T16:20:01.000000Z"}
        properties["eo:cloud_cover"] = 55.0 if number == len(items) - 1 else 0.4
        copies.append(
            {**item, "geometry": mapping(ground), "bbox": list(ground.bounds), "properties": properties}
        )
    return copies


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The archive's own library, pointed at a token endpoint on the loopback."""

    def grant(request: Request) -> Fault:
        end = (datetime.now(UTC) + timedelta(minutes=45)).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = f"st=2023-01-01&se=2030-01-01&sp=rl&sr=c&sig=SECRET{request.number}"
        return Fault(200, json.dumps({"msft:expiry": end, "token": token}).encode())

    with serving(World(fault=grant)) as world:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{world.url}/token")
        monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
        Settings.get.cache_clear()
        signing._TOKENS.clear()  # noqa: SLF001 - a process keeps its tokens, a test must not
        yield world
    Settings.get.cache_clear()
    signing._TOKENS.clear()  # noqa: SLF001 - a process keeps its tokens, a test must not


@pytest.mark.parametrize("dialect", DIALECTS)
def test_real_items_are_found_indexed_signed_and_matched(dialect: str, tokens: World) -> None:
    quads, seen = real("naip_items.ndjson"), real(DIALECTS[dialect])
    outlines = [shape(item["geometry"]) for item in quads]
    ground = shapely.box(*shapely.total_bounds(outlines)).buffer(0.1)
    flown = sorted({item["properties"]["datetime"][:10] for item in quads})
    naip_window = Window(date.fromisoformat(flown[0]), date.fromisoformat(flown[-1]))
    over = moved(seen, ground, date(2023, 1, 3))
    # A footprint in the middle of each quad; two quads of one place in two years give the same one.
    middles = [shapely.centroid(outline) for outline in outlines[:40]]
    places = [Footprint(round(middle.x, 6), round(middle.y, 6)) for middle in middles]
    rows = pa.concat_tables([candidate(place, f"AL-w{number}") for number, place in enumerate(places, 1)])

    with serving(World(items=[*quads, *over])) as world:
        imagery = StacImagery(
            url=world.url,
            sentinel2_collection=seen[0]["collection"],
            signer=Signer.PLANETARY_COMPUTER,
        )
        parameters = MatchParameters(naip_window=naip_window)
        asked = {
            Sensor.NAIP: (imagery, "naip", parameters.naip_window),
            Sensor.SENTINEL2: (imagery, seen[0]["collection"], parameters.sentinel2_window),
        }
        items = find_items(asked, area_of(shapely.bounds(shapely.from_wkb(rows["geometry"].to_numpy()))))
    outcome = match(rows, items, "AL", parameters)

    assert outcome.dropped.num_rows == 0
    by_id = {row["item_id"]: row for row in items.to_pylist()}
    verbatim = {item["id"]: item for item in [*quads, *seen]}
    for row in outcome.kept.to_pylist():
        quad = by_id[row["naip_items"][0]]
        assert shapely.covers(shapely.from_wkb(quad["geometry"]), shapely.from_wkb(row["geometry"]))
        assert quad["vintage"] == verbatim[quad["item_id"]]["properties"]["naip:year"]
        assert str(row["naip_date"]) == verbatim[quad["item_id"]]["properties"]["datetime"][:10]
        assert row["cloud_cover"] < 2
        for name in [*row["naip_items"], *row["sentinel2_items"]]:
            hrefs = dict(by_id[name]["assets"])
            assert set(hrefs.values()) <= {asset["href"] for asset in verbatim[name]["assets"].values()}
            for href in hrefs.values():
                assert "sig=SECRET" in imagery.signer.sign(href) or "blob.core.windows.net" not in href
    assert values(outcome.kept, "scene_id") == values(rows, "scene_id")
    assert any("naipeuwest" in request.path for request in tokens.requests)
    assert len(tokens.requests) <= 2  # one token a container
    assert "SECRET" not in str(items.to_pylist())
