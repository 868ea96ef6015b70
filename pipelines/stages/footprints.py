"""Stage "footprints": from labelled polygons to candidate scenes (paper A.2, A.3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.class_map import ClassMap, pack_tile_labels
from gl10m.scene.footprint import FOOTPRINT_DEGREES, SEED_HALF_WIDTH_DEGREES
from gl10m.scene.identity import lots
from gl10m.scene.rejection import Reason
from gl10m.scene.states import scene_id
from pipelines.stages.overlay import Geometries, Labels, Overlay
from pipelines.stages.thinning import KEPT, Indices, gave_way_to, thin

_AT_ONCE = 1024  # footprints labelled together: 100 tiles of 66 classes each are 7 MB
_READ_AT_ONCE = 65_536
_STRIP_DEGREES = 0.25
_NEEDED = ["osm_id", "anchor_class", "class_ids", "longitude", "latitude", "geometry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintParameters:
    """What a candidate must show. The paper names these rules and gives no number; the numbers are ours."""

    thinning_degrees: float = FOOTPRINT_DEGREES / 2
    """Two kept anchors are at least this far apart in longitude or in latitude, degrees; 0 thins nothing. By
    default half a footprint: neighbours share at most half of their ground."""

    minimum_classes: int = 1
    """Classes that the footprint must hold."""

    minimum_labelled_share: float = 1e-4
    """Share of the footprint that any class must cover. By default about 550 m2 at 40 degrees north, a tennis
    court: less is not five pixels of the LR image."""

    minimum_seed_classes: int = 0
    """Classes that the seed box about the anchor must hold."""

    minimum_seed_share: float = 0.0
    """Share of the seed box that any class must cover."""

    def __post_init__(self) -> None:
        """Refuse parameters that no candidate can meet.

        Raises:
            ValueError: a share lies outside 0..1, or a number is negative.
        """
        for name in ("minimum_labelled_share", "minimum_seed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of the ground, 0 to 1; got {getattr(self, name)}")
        for name in ("thinning_degrees", "minimum_classes", "minimum_seed_classes"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} is 0 or more; got {getattr(self, name)}")

    @property
    def asks_for_seed(self) -> bool:
        """Whether the seed box matters at all."""
        return self.minimum_seed_classes > 0 or self.minimum_seed_share > 0


PRESETS = {
    "default": FootprintParameters(),
    "sar": FootprintParameters(minimum_labelled_share=0.0, minimum_seed_classes=2, minimum_seed_share=0.7),
}
"""Parameters by name. "sar" is the rule of the SAR benchmark, the likely ancestor of GL-10M: at least two
classes and 70 % labelled ground in the seed box. The ancestor takes closed ways alone; here relations count
too."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """Labels of one accepted footprint, as small as they stand in the table."""

    class_ids: NDArray[np.intp]
    class_shares: NDArray[np.float32]
    labelled_share: float
    tile_labels: bytes


class _Labeller:
    """Labels footprints as they are asked for and remembers those that meet the minimums."""

    def __init__(self, polygons: pa.Table, classes: int, parameters: FootprintParameters) -> None:
        self._overlay = Overlay(_geometry(polygons), _membership(polygons, classes))
        self._parameters = parameters
        self.longitude: NDArray[np.float64] = polygons["longitude"].to_numpy()
        self.latitude: NDArray[np.float64] = polygons["latitude"].to_numpy()
        self.refusals: dict[int, tuple[Reason, str]] = {}
        self.scenes: dict[int, _Scene] = {}

    def accept(self, rows: Indices) -> NDArray[np.bool_]:
        """Which of some anchors meet the minimums; the others are noted with their reason.

        Args:
            rows: shape (k,), rows of the polygons; each is asked about once.

        Returns:
            Shape (k,).
        """
        accepted = np.empty(len(rows), np.bool_)
        # Neighbours together: they meet the same polygons, which then lie in the processor's cache.
        order = np.lexsort((self.longitude[rows], np.floor(self.latitude[rows] / _STRIP_DEGREES)))
        for first in range(0, len(rows), _AT_ONCE):
            part = order[first : first + _AT_ONCE]
            accepted[part] = self._accept(rows[part])
        return accepted

    def _accept(self, rows: Indices) -> NDArray[np.bool_]:
        wanted, accepted = self._parameters, np.ones(len(rows), np.bool_)
        if wanted.asks_for_seed:  # the small square first: it is cheap
            seed = self._laid_over(rows, SEED_HALF_WIDTH_DEGREES)
            minimums = (wanted.minimum_seed_classes, wanted.minimum_seed_share)
            accepted = self._meets(rows, seed, minimums, "seed box")
        left = rows[accepted]
        labels = self._laid_over(left, FOOTPRINT_DEGREES / 2)
        minimums = (wanted.minimum_classes, wanted.minimum_labelled_share)
        good = self._meets(left, labels, minimums, "footprint")
        accepted[accepted] = good
        for place in np.flatnonzero(good):
            self.scenes[int(left[place])] = _scene(labels, int(place))
        return accepted

    def _laid_over(self, rows: Indices, half: float) -> Labels:
        return self._overlay.labels(squares(self.longitude[rows], self.latitude[rows], half))

    def _meets(
        self, rows: Indices, labels: Labels, minimums: tuple[int, float], ground: str
    ) -> NDArray[np.bool_]:
        classes: Indices = labels.tiles.any(axis=1).sum(axis=1)
        few, small = classes < minimums[0], labels.labelled < minimums[1]
        for place in np.flatnonzero(few):
            detail = f"{classes[place]} classes in the {ground}; at least {minimums[0]} wanted"
            self.refusals[int(rows[place])] = (Reason.FEW_CLASSES, detail)
        for place in np.flatnonzero(~few & small):
            detail = f"{labels.labelled[place]:.6f} of the {ground} labelled; at least {minimums[1]:g} wanted"
            self.refusals[int(rows[place])] = (Reason.SMALL_LABELLED_AREA, detail)
        return np.asarray(~(few | small))


def _scene(labels: Labels, place: int) -> _Scene:
    tiles = labels.tiles[place]
    class_ids = np.flatnonzero(tiles.any(axis=0))
    shares = labels.shares[place, class_ids].astype(np.float32)
    return _Scene(class_ids, shares, float(labels.labelled[place]), pack_tile_labels(tiles))


def make_footprints(
    polygons: pa.Table, state: str, class_map: ClassMap, parameters: FootprintParameters
) -> Outcome:
    """Put a footprint about the anchor of each polygon, label it, and thin out near-duplicates.

    The anchors are walked through by rank: those of rare classes first (by the class map's counts), within a
    class by a number drawn from the identity of the object. An anchor that stands too near to a kept one is
    THINNED; any other is labelled and then kept, or rejected where its footprint does not meet the minimums.
    A rejected anchor thins nobody. So the minimums come before the thinning, as if all footprints had been
    labelled first, but only those that may be kept are. The order of the rows does not matter.

    Args:
        polygons: schema LABELLED_POLYGONS, all polygons of the region; each is an anchor and a label.
        state: region code of the polygons.
        class_map: the map that the polygons were labelled with.
        parameters: minimums and thinning distance.

    Returns:
        Kept rows in schema CANDIDATES, ways before relations, each by id. Rejected, by OSM object:
        FEW_CLASSES, SMALL_LABELLED_AREA, THINNED.
    """
    polygons = _in_order(polygons)
    labeller = _Labeller(polygons, len(class_map), parameters)
    polygons = polygons.drop_columns(["geometry"])
    rank = _rank(polygons, class_map)
    distance = parameters.thinning_degrees
    fate = thin(labeller.longitude, labeller.latitude, rank, distance, labeller.accept)
    winner = gave_way_to(labeller.longitude, labeller.latitude, rank, distance, fate)
    ledger = Ledger("footprints", state)
    names: list[Any] = polygons["osm_id"].to_pylist()
    for row in np.flatnonzero(fate != KEPT):
        refusal = labeller.refusals.get(int(row))
        if refusal is None:
            near = scene_id(state, names[winner[row]])
            refusal = (Reason.THINNED, f"nearer than {distance:g} degrees to {near}, which is kept here")
        ledger.reject(names[row], *refusal)
    kept = sorted(labeller.scenes)
    candidates = _table(polygons.take(pa.array(kept, pa.int64())), state, [labeller.scenes[r] for r in kept])
    return Outcome(stage="footprints", read=polygons.num_rows, kept=candidates, dropped=ledger.table)


def _in_order(polygons: pa.Table) -> pa.Table:
    """Ways before relations, each by id: from here on nothing depends on how the rows came.

    Only the columns that are needed come along: the tags of a million polygons fill half a gigabyte.
    """
    names: Any = polygons["osm_id"].combine_chunks()
    number = pc.cast(pc.replace_substring_regex(names, "^[a-z]+/", ""), pa.int64()).to_numpy()
    relation = ~pc.starts_with(names, "way/").to_numpy(zero_copy_only=False)
    order = pa.array(np.lexsort((number, relation)), pa.int64())
    return polygons.select(_NEEDED).take(order)


def _geometry(polygons: pa.Table) -> Geometries:
    """Geometries of the polygons; chunk by chunk, so that their bytes do not all lie about as objects."""
    column: Any = polygons["geometry"]
    chunks = [column.slice(first, _READ_AT_ONCE) for first in range(0, len(column), _READ_AT_ONCE)]
    found = [np.empty(0, object), *(shapely.from_wkb(chunk.to_numpy()) for chunk in chunks)]
    return np.concatenate(found)


def _membership(polygons: pa.Table, classes: int) -> NDArray[np.bool_]:
    """Shape (polygons, classes); True where a polygon is of a class."""
    class_ids: Any = polygons["class_ids"].combine_chunks()
    counts = class_ids.value_lengths().to_numpy(zero_copy_only=False)
    membership = np.zeros((len(class_ids), classes), np.bool_)
    membership[np.repeat(np.arange(len(class_ids)), counts), class_ids.flatten().to_numpy()] = True
    return membership


def _rank(polygons: pa.Table, class_map: ClassMap) -> Indices:
    """Each anchor's place in the walk: rare classes first, then by lot."""
    rarity = np.array(class_map.rarity)[polygons["anchor_class"].to_numpy()]
    names: list[Any] = polygons["osm_id"].to_pylist()
    lot = lots("thinning", names)
    rank = np.empty(len(lot), np.int64)
    rank[np.lexsort((lot, rarity))] = np.arange(len(lot))
    return rank


def squares(
    longitude: NDArray[np.float64], latitude: NDArray[np.float64], half: float
) -> NDArray[np.float64]:
    """Squares about points, bit for bit `Footprint.bounds` where `half` is half a footprint.

    Args:
        longitude: shape (n,), degrees.
        latitude: shape (n,), degrees.
        half: half the side, degrees.

    Returns:
        Shape (n, 4): west, south, east, north, degrees.
    """
    return np.stack([longitude - half, latitude - half, longitude + half, latitude + half], axis=1)


def _table(anchors: pa.Table, state: str, scenes: list[_Scene]) -> pa.Table:
    """Kept candidates in the order of their anchors."""
    longitude, latitude = anchors["longitude"].to_numpy(), anchors["latitude"].to_numpy()
    bounds = squares(longitude, latitude, FOOTPRINT_DEGREES / 2)
    names: list[Any] = anchors["osm_id"].to_pylist()
    wkb: Any = shapely.to_wkb(np.asarray(shapely.box(*bounds.T)), byte_order=1)
    columns = {
        "scene_id": [scene_id(state, name) for name in names],
        "state": [state] * len(names),
        "osm_id": names,
        "anchor_class": anchors["anchor_class"],
        "longitude": longitude,
        "latitude": latitude,
        "bounds": bounds.tolist(),
        "class_ids": [scene.class_ids for scene in scenes],
        "class_shares": [scene.class_shares for scene in scenes],
        "labelled_share": np.array([scene.labelled_share for scene in scenes], np.float32),
        "tile_labels": [scene.tile_labels for scene in scenes],
        "geometry": wkb.tolist(),
    }
    return pa.table(columns, schema=CANDIDATES.schema)
