"""The tables between the stages and on disk: name, type, unit and source of every column.

Every column is declared once. The Arrow schemas and the units in the files' own metadata are made from
these declarations. Geometry is WKB in EPSG:4326, longitude first.
"""

from dataclasses import dataclass

import pyarrow as pa

from gl10m.scene.grid import TILES

SCHEMA_VERSION = 1
"""Raised when a reader of the old tables would misread the new ones."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    unit: str
    """Physical unit or code list: "degrees east, EPSG:4326", "square metres", "class id", "-" for names."""
    source: str
    """Where the value comes from: OSM, STAC, a stage, or a section of the paper."""
    meaning: str

    def field(self) -> "pa.Field[pa.DataType]":
        """The Arrow field; unit, source and meaning travel in its metadata."""
        about = {"unit": self.unit, "source": self.source, "meaning": self.meaning}
        return pa.field(self.name, self.type, metadata=about)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema, units in the field metadata, the table's name and version in the schema's."""
        about: dict[bytes | str, bytes | str] = {
            "gl10m.table": self.name,
            "gl10m.schema_version": str(SCHEMA_VERSION),
        }
        return pa.schema([column.field() for column in self.columns], metadata=about)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def empty(self) -> pa.Table:
        """A table of this schema with no row."""
        return self.schema.empty_table()

    def extended(self, name: str, meaning: str, columns: tuple[Column, ...]) -> "Table":
        """A table with more columns at the end."""
        return Table(name, meaning, self.columns + columns)


_DEGREES_EAST = "degrees east, EPSG:4326"
_DEGREES_NORTH = "degrees north, EPSG:4326"

_STATE = Column("state", pa.string(), "-", "build --states", "Region code, two capital letters")
_OSM_ID = Column("osm_id", pa.string(), "-", "OSM", "Object at the anchor: way/123 or relation/5")
_SCENE_ID = Column("scene_id", pa.string(), "-", "footprints", "Stable name: CA-w123, ME-r98")
_BOUNDS = Column(
    "bounds",
    pa.list_(pa.float64(), 4),
    "degrees, EPSG:4326",
    "footprints, paper A.2",
    "West, south, east, north of the footprint",
)

POLYGONS = Table(
    "polygons",
    "OSM areas that carry a tag of the class map",
    (
        _STATE,
        _OSM_ID,
        Column(
            "tags",
            pa.map_(pa.string(), pa.string()),
            "-",
            "OSM",
            "All tags of the object, keys sorted",
        ),
        Column("closed_way", pa.bool_(), "-", "OSM", "True for a closed way, False for a relation"),
        Column("area_m2", pa.float64(), "square metres, geodesic", "polygons", "Area without the holes"),
        Column(
            "longitude",
            pa.float64(),
            _DEGREES_EAST,
            "polygons, paper A.2",
            "Anchor, inside the polygon",
        ),
        Column(
            "latitude",
            pa.float64(),
            _DEGREES_NORTH,
            "polygons, paper A.2",
            "Anchor, inside the polygon",
        ),
        Column(
            "geometry",
            pa.binary(),
            "WKB, degrees, EPSG:4326",
            "OSM",
            "Valid polygon or multipolygon",
        ),
    ),
)

LABELLED_POLYGONS = POLYGONS.extended(
    "labelled_polygons",
    "Polygons with the classes that accept them",
    (
        Column(
            "class_ids",
            pa.list_(pa.uint8()),
            "class id",
            "classes",
            "Classes of the polygon, ascending",
        ),
        Column("anchor_class", pa.uint8(), "class id", "classes", "The rarest of them in the class map"),
    ),
)

CANDIDATES = Table(
    "candidates",
    "Scene footprints about OSM anchors, before imagery",
    (
        _SCENE_ID,
        _STATE,
        _OSM_ID,
        Column("anchor_class", pa.uint8(), "class id", "classes", "Class of the object at the anchor"),
        Column(
            "longitude",
            pa.float64(),
            _DEGREES_EAST,
            "footprints, paper A.2",
            "Centre of the footprint",
        ),
        Column(
            "latitude",
            pa.float64(),
            _DEGREES_NORTH,
            "footprints, paper A.2",
            "Centre of the footprint",
        ),
        _BOUNDS,
        Column(
            "class_ids",
            pa.list_(pa.uint8()),
            "class id",
            "footprints",
            "Classes in the footprint, ascending",
        ),
        Column(
            "class_shares",
            pa.list_(pa.float32()),
            "share of the footprint, 0..1",
            "footprints",
            "Ground that each of class_ids covers, overlaps of one class counted once",
        ),
        Column(
            "labelled_share",
            pa.float32(),
            "share of the footprint, 0..1",
            "footprints",
            "Ground that any class covers, overlaps counted once",
        ),
        Column(
            "tile_labels",
            pa.binary(),
            "bits",
            "footprints",
            "100 rows, one a tile, of one bit a class, padded to whole bytes, first class in the highest bit",
        ),
        Column(
            "geometry",
            pa.binary(),
            "WKB, degrees, EPSG:4326",
            "footprints",
            "The footprint's rectangle",
        ),
    ),
)

MATCHED = CANDIDATES.extended(
    "matched",
    "Candidates with the items that show them",
    (
        Column(
            "naip_items",
            pa.list_(pa.string()),
            "-",
            "matching",
            "NAIP item ids, largest overlap first",
        ),
        Column("naip_date", pa.date32(), "UTC day", "matching, paper A.2", "Day of the first NAIP item"),
        Column(
            "naip_gsd",
            pa.float32(),
            "metres",
            "STAC",
            "Ground sample distance of the first NAIP item",
        ),
        Column("sentinel2_items", pa.list_(pa.string()), "-", "matching", "Sentinel-2 item ids by rank"),
        Column(
            "sentinel2_date",
            pa.date32(),
            "UTC day",
            "matching, paper A.2",
            "Day of the first Sentinel-2 item",
        ),
        Column(
            "cloud_cover",
            pa.float32(),
            "percent of the granule",
            "STAC",
            "Reported cloud of the first item",
        ),
        Column(
            "days_between",
            pa.int16(),
            "days, Sentinel-2 minus NAIP",
            "matching",
            "Gap between the sensors",
        ),
        Column(
            "fallback",
            pa.bool_(),
            "-",
            "matching, paper A.2",
            "True where the whole of 2023 was searched",
        ),
    ),
)

_LR_QUALITY = (
    Column(
        "black_lr",
        pa.float32(),
        "share of pixels, 0..1",
        "lr, paper A.3",
        "Black or missing LR pixels",
    ),
    Column(
        "cloud_lr",
        pa.float32(),
        "share of pixels, 0..1",
        "lr",
        "Cloud, shadow and cirrus of the first item",
    ),
    Column(
        "filled_lr",
        pa.float32(),
        "share of pixels, 0..1",
        "lr",
        "Pixels filled from later-ranked items",
    ),
)
_HR_QUALITY = (
    Column(
        "black_hr",
        pa.list_(pa.float32(), TILES),
        "share of pixels, 0..1",
        "hr, paper A.3",
        "Black or missing pixels of each tile",
    ),
)

LR_FETCHED = MATCHED.extended(
    "lr_fetched",
    "Matched candidates with their LR image, which passed quality control",
    (
        *_LR_QUALITY,
        Column("lr", pa.binary(), "JPEG, 268 x 268 x 3", "lr, paper A.1", "Encoded LR image"),
    ),
)

FETCHED = LR_FETCHED.extended(
    "fetched",
    "Pairs whose LR image and 100 HR tiles passed quality control",
    (
        *_HR_QUALITY,
        Column(
            "hr",
            pa.list_(pa.binary(), TILES),
            "JPEG, 268 x 268 x 3",
            "hr, paper A.1",
            "Encoded HR tiles, tile = 10 * row + column, north-west first",
        ),
    ),
)

STORED = MATCHED.extended("stored", "What a shard says of each scene", (*_LR_QUALITY, *_HR_QUALITY))

NEIGHBOUR = (
    Column(
        "nearest_scene",
        pa.string(),
        "-",
        "publication, paper A.3",
        "Kept scene that shares the most ground with this one; null where none does",
    ),
    Column(
        "shared_ground",
        pa.float32(),
        "share of the footprint, 0..1",
        "publication, paper A.3",
        "Ground that the two share: a near-duplicate where it is large",
    ),
    Column(
        "same_imagery",
        pa.bool_(),
        "-",
        "publication, paper A.3",
        "True where the two name the same items, so that the shared ground is shown twice alike",
    ),
)
"""What publication says of near-duplicates; it depends on which other scenes were kept."""

PLACED = STORED.extended(
    "placed",
    "Stored scenes with their place",
    (
        Column("shard", pa.string(), "-", "store", "File in data/ that holds the pixels"),
        Column("row", pa.int32(), "row number", "store", "Row in that file"),
    ),
)

SCENES = PLACED.extended("scenes", "Complete pairs: one LR image and 100 HR tiles in the store", NEIGHBOUR)

ITEMS = Table(
    "items",
    "Catalogue items as found; hrefs are unsigned",
    (
        Column("collection", pa.string(), "-", "STAC", "Collection id"),
        Column("item_id", pa.string(), "-", "STAC", "Item id"),
        Column("sensor", pa.string(), "naip or sentinel-2", "sources", "Which sensor the item shows"),
        Column(
            "acquired",
            pa.timestamp("us", tz="UTC"),
            "UTC",
            "STAC datetime",
            "For NAIP only the day means something",
        ),
        Column("gsd", pa.float32(), "metres", "STAC", "Ground sample distance"),
        Column("epsg", pa.int32(), "EPSG code", "STAC proj:epsg or proj:code", "CRS of the rasters"),
        Column("cloud_cover", pa.float32(), "percent", "STAC eo:cloud_cover", "Null for NAIP"),
        Column("baseline", pa.string(), "-", "STAC s2:processing_baseline", "05.09; null for NAIP"),
        Column(
            "generated",
            pa.string(),
            "UTC",
            "STAC s2:generation_time",
            "When the product was made; null for NAIP",
        ),
        Column("mgrs_tile", pa.string(), "-", "STAC s2:mgrs_tile or grid:code", "13TDE; null for NAIP"),
        Column(
            "vintage",
            pa.string(),
            "year",
            "STAC naip:year, else the date's",
            "Flight year; null for Sentinel-2",
        ),
        Column(
            "assets",
            pa.map_(pa.string(), pa.string()),
            "unsigned href, or Earth Engine asset id",
            "STAC, Earth Engine",
            "image (NAIP: R, G, B, NIR; Earth Engine: all bands) or red, green, blue, scl",
        ),
        Column(
            "scale",
            pa.float64(),
            "reflectance per count",
            "raster:bands, else the baseline",
            "Null for NAIP",
        ),
        Column(
            "offset",
            pa.float64(),
            "reflectance",
            "raster:bands, else the baseline",
            "Null for NAIP",
        ),
        Column(
            "bounds",
            pa.list_(pa.float64(), 4),
            "degrees, EPSG:4326",
            "STAC bbox",
            "West, south, east, north",
        ),
        Column(
            "geometry",
            pa.binary(),
            "WKB, degrees, EPSG:4326",
            "STAC geometry",
            "Footprint of the item",
        ),
    ),
)

COVERAGE = Table(
    "coverage",
    "Ground that each sensor's items show, one row a region and sensor",
    (
        _STATE,
        Column("sensor", pa.string(), "naip or sentinel-2", "coverage", "Which sensor shows the ground"),
        Column("source", pa.string(), "-", "build --source", "Catalogue that was asked, without secrets"),
        Column("items", pa.int64(), "items", "STAC", "Items inside the window and under the cloud limit"),
        Column(
            "first_day", pa.date32(), "UTC day", "STAC datetime", "Day of the earliest; null without items"
        ),
        Column("last_day", pa.date32(), "UTC day", "STAC datetime", "Day of the latest; null without items"),
        Column(
            "most_cloud_percent",
            pa.float32(),
            "percent",
            "coverage, paper A.2",
            "Items with this much reported cloud or more do not count; null for NAIP",
        ),
        Column(
            "area_km2",
            pa.float64(),
            "square kilometres, geodesic",
            "coverage",
            "Ground that any item shows, overlaps counted once; reaches beyond the region",
        ),
        Column(
            "geometry",
            pa.binary(),
            "WKB, degrees, EPSG:4326",
            "STAC geometry",
            "Union of the items' outlines",
        ),
    ),
)

REJECTIONS = Table(
    "rejections",
    "Every row that a stage let go or could not finish, and why",
    (
        Column("stage", pa.string(), "stage name", "build", "One of gl10m.scene.rejection.STAGES"),
        _STATE,
        Column(
            "subject",
            pa.string(),
            "-",
            "build",
            "OSM object before the footprints stage, scene from there on",
        ),
        Column(
            "outcome",
            pa.string(),
            "rejected or failed",
            "build",
            "Failed rows are tried again at the next run",
        ),
        Column(
            "reason",
            pa.string(),
            "reason or error code",
            "build",
            "gl10m.scene.rejection.Reason, or what failed",
        ),
        Column("detail", pa.string(), "-", "build", "The numbers behind the reason, in one line"),
    ),
)

FUNNEL = Table(
    "funnel",
    "Rows read, kept, rejected and failed by each stage in each state",
    (
        Column("stage", pa.string(), "stage name", "build", "One of gl10m.scene.rejection.STAGES"),
        _STATE,
        Column("read", pa.int64(), "rows", "build", "Rows that came in"),
        Column("kept", pa.int64(), "rows", "build", "Rows that went on"),
        Column("rejected", pa.int64(), "rows", "build", "Rows let go with a reason"),
        Column("failed", pa.int64(), "rows", "build", "Rows to try again"),
    ),
)

SPLITS = Table(
    "splits",
    "Which split each scene belongs to",
    (
        _SCENE_ID,
        Column(
            "split",
            pa.string(),
            "train, val, test or a user's name",
            "split, paper A.4",
            "Split of the scene",
        ),
    ),
)

BUILD_MANIFESTS = (SCENES, CANDIDATES, REJECTIONS, ITEMS, COVERAGE, FUNNEL)
"""Manifests that every build writes: manifests/<name>.parquet."""

TABLES = (
    POLYGONS,
    LABELLED_POLYGONS,
    CANDIDATES,
    MATCHED,
    LR_FETCHED,
    FETCHED,
    SCENES,
    ITEMS,
    COVERAGE,
    REJECTIONS,
    FUNNEL,
    SPLITS,
)
"""All declared tables."""
