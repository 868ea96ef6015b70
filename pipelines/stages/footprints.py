"""Stage "footprints": from labelled polygons to candidate scenes (paper A.2, A.3)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.class_map import ClassMap, pack_tile_labels
from gl10m.scene.footprint import FOOTPRINT_DEGREES, SEED_HALF_WIDTH_DEGREES
from gl10m.scene.identity import lots
from gl10m.scene.rejection import Reason
from gl10m.scene.states import scene_id
from pipelines.stages.overlay import Labels, Overlay
from pipelines.stages.thinning import KEPT, Indices, thin


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintParameters:
    """What a candidate must show. The paper names these rules and gives no number; the numbers are ours."""

    SAR: ClassVar["FootprintParameters"]
    """The rule of SAR, the likely ancestor: two classes and 70 % labelled ground in the seed box."""

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


FootprintParameters.SAR = FootprintParameters(
    minimum_labelled_share=0.0, minimum_seed_classes=2, minimum_seed_share=0.7
)


class _Labeller:
    """Labels footprints as they are asked for and remembers those that meet the minimums."""

    def __init__(self, polygons: pa.Table, classes: int, parameters: FootprintParameters) -> None:
        geometry = shapely.from_wkb(polygons["geometry"].to_numpy())
        self._overlay = Overlay(geometry, _membership(polygons, classes))
        self._parameters = parameters
        self.longitude: NDArray[np.float64] = polygons["longitude"].to_numpy()
        self.latitude: NDArray[np.float64] = polygons["latitude"].to_numpy()
        self.refusals: dict[int, tuple[Reason, str]] = {}
        self._rows: list[Indices] = []
        self._labels: list[Labels] = []

    def accept(self, rows: Indices) -> NDArray[np.bool_]:
        """Which of some anchors meet the minimums; the others are noted with their reason.

        Args:
            rows: shape (k,), rows of the polygons; each is asked about once.

        Returns:
            Shape (k,).
        """
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
        self._rows.append(left[good])
        self._labels.append(Labels(labels.shares[good], labels.labelled[good], labels.tiles[good]))
        return accepted

    def labels(self) -> Labels:
        """Labels of all accepted anchors, by row."""
        order = np.argsort(np.concatenate(self._rows), kind="stable")
        return Labels(
            np.concatenate([labels.shares for labels in self._labels])[order],
            np.concatenate([labels.labelled for labels in self._labels])[order],
            np.concatenate([labels.tiles for labels in self._labels])[order],
        )

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
    rank = _rank(polygons, class_map)
    distance = parameters.thinning_degrees
    fate = thin(labeller.longitude, labeller.latitude, rank, distance, labeller.accept)
    thinned = f"nearer than {distance:g} degrees to a kept anchor"
    ledger = Ledger("footprints", state)
    names: list[Any] = polygons["osm_id"].to_pylist()
    for row in np.flatnonzero(fate != KEPT):
        reason, detail = labeller.refusals.get(int(row), (Reason.THINNED, thinned))
        ledger.reject(names[row], reason, detail)
    kept = polygons.take(pa.array(np.flatnonzero(fate == KEPT), pa.int64()))
    candidates = _table(kept, state, labeller.labels()) if kept.num_rows else CANDIDATES.empty()
    return Outcome(stage="footprints", read=polygons.num_rows, kept=candidates, dropped=ledger.table)


def _in_order(polygons: pa.Table) -> pa.Table:
    """Ways before relations, each by id: from here on nothing depends on how the rows came."""
    names: list[Any] = polygons["osm_id"].to_pylist()
    parts = [name.partition("/") for name in names]
    order = sorted(range(len(parts)), key=lambda n: (parts[n][0] != "way", int(parts[n][2])))
    return polygons.take(pa.array(order, pa.int64()))


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


def _table(anchors: pa.Table, state: str, labels: Labels) -> pa.Table:
    """Kept candidates in the order of their anchors."""
    held: Any = labels.tiles.any(axis=1)
    class_ids = [np.flatnonzero(scene) for scene in held]
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
        "class_ids": class_ids,
        "class_shares": [share[ids] for share, ids in zip(labels.shares, class_ids, strict=True)],
        "labelled_share": labels.labelled.astype(np.float32),
        "tile_labels": [pack_tile_labels(scene) for scene in labels.tiles],
        "geometry": wkb.tolist(),
    }
    return pa.table(columns, schema=CANDIDATES.schema)
