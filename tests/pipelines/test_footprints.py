from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.class_map import ClassMap, unpack_tile_labels
from gl10m.scene.footprint import Footprint
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import PRESETS, FootprintParameters, make_footprints
from pipelines.stages.polygons import read_polygons
from tests.worlds import square, world_of, write_world

World = Callable[..., Path]
DEFAULT = FootprintParameters()


def labelled(path: Path, class_map: ClassMap) -> pa.Table:
    return map_classes(read_polygons(path, "CO", class_map).kept, "CO", class_map).kept


def reasons(outcome: Outcome) -> dict[str | None, str | None]:
    return dict(
        zip(outcome.dropped["subject"].to_pylist(), outcome.dropped["reason"].to_pylist(), strict=True)
    )


def test_a_golf_course_becomes_one_candidate(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100, 40, 0.012, "leisure=golf_course"),
        square(2, -100.0024, 40.0024, 0.0012, "natural=water"),
    )
    outcome = make_footprints(labelled(osm_world(world), class_map), "CO", class_map, DEFAULT)
    assert outcome.kept.schema.equals(CANDIDATES.schema)
    (row,) = outcome.kept.to_pylist()
    golf, pond = class_map.names.index("Golf course"), class_map.names.index("Pond")
    assert (row["scene_id"], row["osm_id"], row["anchor_class"]) == ("CO-w1", "way/1", golf)
    assert tuple(row["bounds"]) == Footprint(row["longitude"], row["latitude"]).bounds
    assert shapely.from_wkb(row["geometry"]).bounds == tuple(row["bounds"])
    assert row["class_ids"] == [golf, pond]
    assert row["class_shares"] == pytest.approx([0.25, 0.0025], rel=1e-4)
    assert row["labelled_share"] == pytest.approx(0.25, rel=1e-4)
    tiles = unpack_tile_labels(row["tile_labels"], 66)
    assert tiles[:, golf].reshape(10, 10)[2:8, 2:8].all()
    assert tiles[:, pond].sum() == 4  # about the corner of four tiles
    assert reasons(outcome) == {"way/2": "THINNED"}


def test_a_rare_class_is_kept_before_a_frequent_one(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100.000, 40, 0.004, "landuse=forest"),
        square(2, -100.011, 40, 0.004, "amenity=prison"),
        square(3, -100.022, 40, 0.004, "landuse=forest"),
        square(4, -100.040, 40, 0.004, "landuse=forest"),
    )
    outcome = make_footprints(labelled(osm_world(world), class_map), "CO", class_map, DEFAULT)
    assert outcome.kept["scene_id"].to_pylist() == ["CO-w2", "CO-w4"]
    assert reasons(outcome) == {"way/1": "THINNED", "way/3": "THINNED"}


def test_who_does_not_meet_the_minimums_thins_nobody(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100.000, 40, 0.0001, "building=toll_booth"),
        square(2, -100.011, 40, 0.01, "landuse=forest"),
    )
    parameters = FootprintParameters(minimum_labelled_share=0.15)
    outcome = make_footprints(labelled(osm_world(world), class_map), "CO", class_map, parameters)
    assert outcome.kept["scene_id"].to_pylist() == ["CO-w2"]
    assert reasons(outcome) == {"way/1": "SMALL_LABELLED_AREA"}


def test_too_few_classes(osm_world: World, class_map: ClassMap) -> None:
    polygons = labelled(osm_world(square(1, -100, 40, 0.01, "landuse=forest")), class_map)
    outcome = make_footprints(polygons, "CO", class_map, FootprintParameters(minimum_classes=2))
    assert reasons(outcome) == {"way/1": "FEW_CLASSES"}
    assert outcome.dropped["detail"].to_pylist() == ["1 classes in the footprint; at least 2 wanted"]
    assert outcome.kept.num_rows == 0


def test_the_preset_of_the_ancestor_looks_at_the_seed_box(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100.0, 40, 0.01, "landuse=forest"),
        square(2, -100.1, 40, 0.01, "landuse=forest"),
        square(3, -100.1, 40, 0.002, "amenity=school"),
        square(4, -100.2, 40, 0.001, "amenity=school,leisure=park"),
    )
    outcome = make_footprints(labelled(osm_world(world), class_map), "CO", class_map, PRESETS["sar"])
    assert outcome.kept["scene_id"].to_pylist() == ["CO-w3"]
    assert reasons(outcome) == {"way/1": "FEW_CLASSES", "way/2": "THINNED", "way/4": "SMALL_LABELLED_AREA"}


def test_without_thinning_every_anchor_is_a_candidate(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(*(square(n, -100, 40, 0.004, "landuse=forest") for n in (1, 2, 3)))
    parameters = FootprintParameters(thinning_degrees=0)
    outcome = make_footprints(labelled(osm_world(world), class_map), "CO", class_map, parameters)
    assert outcome.kept.num_rows == 3


def test_no_polygon_no_candidate(osm_world: World, class_map: ClassMap) -> None:
    polygons = labelled(osm_world(square(1, -100, 40, 0.01, "a=b")), class_map)
    outcome = make_footprints(polygons, "CO", class_map, DEFAULT)
    assert (outcome.read, outcome.kept.num_rows) == (0, 0)
    assert outcome.kept.schema.equals(CANDIDATES.schema)


def test_parameters_that_nothing_can_meet_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"minimum_labelled_share is a share of the ground, 0 to 1; got 1\.1"
    ):
        FootprintParameters(minimum_labelled_share=1.1)
    with pytest.raises(ValueError, match="minimum_seed_share"):
        FootprintParameters(minimum_seed_share=-0.1)
    with pytest.raises(ValueError, match="thinning_degrees is 0 or more; got -1"):
        FootprintParameters(thinning_degrees=-1)
    with pytest.raises(ValueError, match="minimum_classes"):
        FootprintParameters(minimum_classes=-1)


TAGS = [
    "landuse=forest",
    "amenity=school",
    "natural=water",
    "leisure=park",
    "building=barn",
    "amenity=prison",
]


@st.composite
def worlds(draw: st.DrawFn) -> str:
    count = draw(st.integers(1, 12))
    place = st.integers(0, 60).map(lambda steps: steps * 0.001)
    return world_of(
        *(
            square(
                n,
                -100 + draw(place),
                40 + draw(place),
                draw(st.sampled_from([0.0008, 0.004, 0.02])),
                draw(st.sampled_from(TAGS)),
            )
            for n in range(1, count + 1)
        )
    )


@settings(max_examples=30)
@given(worlds(), st.data())
def test_permuting_the_input_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap, world: str, data: st.DataObject
) -> None:
    path = write_world(tmp_path_factory.mktemp("world") / "world.opl", world)
    polygons = labelled(path, class_map)
    order = data.draw(st.permutations(range(polygons.num_rows)))
    one = make_footprints(polygons, "CO", class_map, DEFAULT)
    other = make_footprints(polygons.take(pa.array(order, pa.int64())), "CO", class_map, DEFAULT)
    assert one.kept.equals(other.kept)
    assert one.dropped.equals(other.dropped)


@settings(max_examples=30)
@given(worlds())
def test_tile_labels_and_scene_labels_agree(
    tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap, world: str
) -> None:
    path = write_world(tmp_path_factory.mktemp("world") / "world.opl", world)
    polygons = labelled(path, class_map)
    for row in make_footprints(polygons, "CO", class_map, DEFAULT).kept.to_pylist():
        tiles = unpack_tile_labels(row["tile_labels"], 66)
        assert np.flatnonzero(tiles.any(axis=0)).tolist() == row["class_ids"]
        assert row["anchor_class"] in row["class_ids"]
        assert max(row["class_shares"]) <= row["labelled_share"] + 1e-6
        assert row["labelled_share"] <= sum(row["class_shares"]) + 1e-6
