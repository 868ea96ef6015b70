"""What a data set and its journal hold of one scene, one object or one place."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import where
from gl10m.manifest.provenance import is_made_from
from gl10m.manifest.schema import CANDIDATES, ITEMS, MATCHED, POLYGONS, REJECTIONS, SCENES, Table
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import PLACE_STAGES
from gl10m.scene.states import REGION_CODE
from gl10m.storage.place import Place, below
from pipelines.config import BuildParameters, recorded
from pipelines.execution.journal import DamagedTableError, Journal, read_table

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Records:
    """The manifests of a data set, and the tables of its journal where it still stands."""

    root: Place

    def check(self) -> None:
        """Refuse a folder in which nothing was built.

        Raises:
            ManifestNotFoundError: neither manifests nor a journal are there.
        """
        if not (self.root / "manifests" / "scenes.parquet").exists() and not self.regions:
            raise parquet.ManifestNotFoundError(
                f"no data set in {self.root}: it has no manifests. Build one there with `gl10m build`, or "
                "name its folder with --root."
            )

    @property
    def regions(self) -> list[str]:
        """Regions of which the journal holds stages."""
        return [folder.name for folder in below(self._stages, "[A-Z][A-Z]")]

    @property
    def _stages(self) -> Place:
        return Journal(self.root).folder / "stages"

    def manifest(
        self, name: str, declared: Table, column: str, wanted: Collection[str], names: list[str] | None = None
    ) -> list[Row]:
        """Rows of a manifest whose text in one column is among some; none where there is no manifest.

        Raises:
            ManifestError: it is damaged, or lacks a column.
        """
        return self.filtered(name, declared, lambda rows: where(rows, column, wanted), names).to_pylist()

    def filtered(
        self, name: str, declared: Table, keep: Callable[[pa.Table], pa.Table], names: list[str] | None = None
    ) -> pa.Table:
        """Some rows of a manifest; none where there is no manifest.

        Raises:
            ManifestError: it is damaged, or lacks a column.
        """
        path = self.root / "manifests" / f"{name}.parquet"
        if not path.exists():
            return keep(declared.empty().select(names or declared.names))
        return keep(parquet.read(path, declared, names))

    def journal(self, region: str, name: str, declared: Table, columns: list[str] | None = None) -> pa.Table:
        """The newest table of a stage in the journal; empty where the journal is gone.

        Args:
            region: region code.
            name: of the stage, with the part of its outcome, as "footprints.kept"; or of a table.
            declared: what the table must be.
            columns: columns to read.

        Raises:
            ManifestError: it is damaged.
        """
        stage, _, part = name.partition(".")
        names = columns or declared.names
        found = below(self._stages / region, f"{stage}-*{'.' + part if part else ''}.parquet")
        schema = pa.schema([declared.schema.field(column) for column in names])
        if not found or not REGION_CODE.fullmatch(region):
            return schema.empty_table()
        try:
            return read_table(found[-1], names).select(names).cast(schema)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise parquet.ManifestError(f"{found[-1]} cannot be read ({error}).") from error

    def scenes(self, wanted: Collection[str]) -> list[Row]:
        """Kept scenes by id."""
        return self.manifest("scenes", SCENES, "scene_id", wanted)

    def candidates(self, wanted: Collection[str]) -> list[Row]:
        """Indexed footprints by scene id, of the journal where they are not published yet."""
        found = self.manifest("candidates", CANDIDATES, "scene_id", wanted)
        known = {row["scene_id"] for row in found}
        for region in sorted({name[:2] for name in set(wanted) - known} & set(self.regions)):
            rows = self.journal(region, "footprints.kept", CANDIDATES)
            found += where(rows, "scene_id", set(wanted) - known).to_pylist()
        return found

    def drops(self, subjects: Collection[str], regions: Collection[str]) -> list[Row]:
        """Rejections and failures of scenes or objects in some regions, schema REJECTIONS."""
        found = self.manifest("rejections", REJECTIONS, "subject", subjects)
        if not (self.root / "manifests" / "rejections.parquet").exists():
            for region in sorted(set(regions) & set(self.regions)):
                for stage in PLACE_STAGES:
                    rows = self.journal(region, f"{stage}.dropped", REJECTIONS)
                    found += where(rows, "subject", subjects).to_pylist()
        return [row for row in found if row["state"] in regions]

    def polygon(self, region: str, osm_id: str) -> Row | None:
        """The OSM object, schema POLYGONS; None where the journal does not hold it."""
        rows = where(self.journal(region, "polygons.kept", POLYGONS), "osm_id", {osm_id}).to_pylist()
        return rows[0] if rows else None

    def is_of_another_build(self, region: str) -> bool:
        """Whether the journal of a published region is of a later build: another class map or OSM file.

        Raises:
            ManifestError: it is damaged.
        """
        if f"{region}.osm" not in self.inputs:
            return False  # nothing of the region is published
        found = below(self._stages / region, "classes-*.kept.parquet")
        try:
            made = [is_made_from(read_table(path, ["osm_id"]).schema.metadata, self.inputs) for path in found]
        except (OSError, DamagedTableError) as error:
            raise parquet.ManifestError(f"{found[-1]} cannot be read ({error}).") from error
        return bool(made) and all(one is False for one in made)

    def matched(self, region: str, scene: str) -> Row | None:
        """The match of a candidate whose images are not published, schema MATCHED."""
        rows = where(self.journal(region, "matching.kept", MATCHED), "scene_id", {scene}).to_pylist()
        return rows[0] if rows else None

    def items(self, region: str) -> tuple[pa.Table, bool]:
        """Catalogue items, and whether they are all that matching looked at, or those that scenes name."""
        whole = self.journal(region, "items", ITEMS)
        if whole.num_rows:
            return whole, True
        return self.filtered("items", ITEMS, lambda rows: rows), False

    def parameters(self, region: str) -> BuildParameters:
        """Those that a region was built with, by the provenance in the manifest; else the defaults."""
        said = self._about("gl10m.configuration").get(region, {})
        try:
            return recorded({key: value for key, value in said.items() if key != "limit"})
        except (ValueError, AttributeError):
            return BuildParameters()

    @property
    def inputs(self) -> Row:
        """Inputs by name, by the provenance in the manifest."""
        return self._about("gl10m.inputs")

    def class_map(self) -> ClassMap | None:
        """The class map of the data set where it is the bundled one."""
        said = self.inputs.get("class_map")
        return ClassMap.bundled() if said in {None, ClassMap.bundled().digest} else None

    def _about(self, key: str) -> Row:
        path = self.root / "manifests" / "scenes.parquet"
        try:
            found = json.loads(parquet.metadata_of(path).get(key, "{}")) if path.exists() else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
