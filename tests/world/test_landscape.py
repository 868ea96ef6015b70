"""One ground for all who look at it."""

import numpy as np
import pyproj
import pytest

from gl10m.scene.class_map import ClassMap
from pipelines.world.grids import PixelFrame
from pipelines.world.ground import BACKGROUNDS
from pipelines.world.landscape import BLOCK_PIXELS, Landscape, blocks
from tests.world.scenery import bytes_of, labelled


def around(epsg: int, longitude: float, latitude: float, step: float, pixels: int) -> PixelFrame:
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(longitude, latitude)
    return PixelFrame(epsg, step, round(x / step), round(-y / step), pixels, pixels)


def test_a_small_polygon_lies_on_a_large_one_and_both_on_the_background(class_map: ClassMap) -> None:
    world = Landscape(
        labelled(
            class_map,
            [("pond", (-97.103, 31.347, -97.101, 31.349)), ("forest", (-97.11, 31.34, -97.09, 31.36))],
        ),
        class_map,
    )
    numbers = {world.mixtures[k]: k + len(BACKGROUNDS) for k in range(len(world.mixtures))}
    ids = {concept.slug: concept.id for concept in class_map.concepts}

    def ground(longitude: float, latitude: float) -> int:
        return int(world.grounds(around(26914, longitude, latitude, 1.0, 1))[0, 0])

    assert ground(-97.102, 31.348) == numbers[(ids["pond"],)]
    assert ground(-97.095, 31.355) == numbers[(ids["forest"],)]
    assert ground(-97.2, 31.35) < len(BACKGROUNDS)


@pytest.mark.parametrize("step", [0.6, 1.0])
def test_two_frames_agree_where_they_overlap(class_map: ClassMap, step: float) -> None:
    world = Landscape(labelled(class_map, [("farmland", (-97.11, 31.34, -97.105, 31.36))]), class_map)
    look = world.atlas(0.3)
    first = around(26914, -97.1052, 31.35, step, 300)
    second = PixelFrame(26914, step, first.column + 117, first.row - 45, 300, 300)
    one, two = (
        np.block([[world.pixels(part.frame, [look])[0]] for part in blocks(frame, 10**9)])
        for frame in (first, second)
    )
    assert np.array_equal(one[:255, 117:], two[45:, :183])


def test_two_zones_see_the_same_ground(class_map: ClassMap) -> None:
    """Across -84 degrees: what zone 16 shows is what zone 17 shows at the same place."""
    world = Landscape(
        labelled(
            class_map,
            [("river", (-84.002, 33.99, -83.999, 34.01)), ("industrial", (-83.999, 33.99, -83.99, 34.01))],
        ),
        class_map,
    )
    look = world.atlas(0.0)
    east = around(26917, -83.9985, 34.0, 1.0, 200)
    west = around(26916, -84.004, 34.002, 1.0, 900)
    (one,), (two,) = world.pixels(east, [look]), world.pixels(west, [look])
    columns, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    x, y = pyproj.Transformer.from_crs(26917, 26916, always_xy=True).transform(
        east.bounds[0] + columns, east.bounds[3] - rows
    )
    there = two[np.floor(west.bounds[3] - y).astype(int), np.floor(x - west.bounds[0]).astype(int)]
    difference = np.abs(bytes_of(one)[..., :3].astype(int) - bytes_of(there)[..., :3].astype(int))
    assert (difference.max(axis=-1) <= 24).mean() > 0.9  # the rest are edges of the pattern, half a pixel off
    assert abs(bytes_of(one).mean() - bytes_of(there).mean()) < 0.5


def test_blocks_fill_a_frame_and_are_cut_at_the_lattice() -> None:
    frame = PixelFrame(26914, 1.0, BLOCK_PIXELS - 10, -BLOCK_PIXELS - 7, 2 * BLOCK_PIXELS, 30)
    filled = np.zeros((frame.height, frame.width), int)
    for block in blocks(frame):
        filled[block.rows, block.columns] += 1
        assert (
            block.frame.column // BLOCK_PIXELS == (block.frame.column + block.frame.width - 1) // BLOCK_PIXELS
        )
    assert (filled == 1).all()


def test_a_world_without_polygons_is_refused(class_map: ClassMap) -> None:
    with pytest.raises(ValueError, match="gl10m candidates"):
        Landscape(labelled(class_map, []), class_map)


def test_a_polygon_around_half_the_globe_does_no_harm(class_map: ClassMap) -> None:
    lakes = [("lake", (-97.11, 31.30 + y, -97.10, 31.31 + y)) for y in (0.02, 0.04)]
    boxes = [("reserve", (-170.0, -60.0, 170.0, 80.0)), *lakes]
    world = Landscape(labelled(class_map, boxes), class_map)
    assert world.home == 32614
    frame = around(26914, -97.12, 31.345, 4.0, 64)
    found = {world.mixtures[k - len(BACKGROUNDS)] for k in np.unique(world.grounds(frame)).tolist()}
    assert {class_map.concepts[ids[0]].slug for ids in found} == {"reserve"}
    assert bytes_of(world.pixels(frame, [world.atlas(0.0)])[0]).std() > 1
