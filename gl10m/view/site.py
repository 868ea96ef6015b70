"""The files of the viewer, made when asked for: the same names whether they are served or written.

The page is index.html with view.js and view.css. scenes.js is the list; scene-7/about.js tells of its eighth
scene, scene-7/lr.jpg and scene-7/00.jpg to 99.jpg are its images. Data are scripts, since a page that was
opened from a file may not fetch.
"""

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gl10m
from gl10m.manifest.provenance import LICENCES
from gl10m.report.page.facts import about
from gl10m.report.page.markup import asset, embedded
from gl10m.scene.grid import TILES
from gl10m.storage.place import Place, below
from gl10m.store.byte_source import byte_source
from gl10m.store.layout import INDEXES, index_path
from gl10m.store.reader import RegionReader, SceneNotFoundError
from gl10m.store.region_index import DataSetNotFoundError, open_index
from gl10m.view.catalogue import Catalogue, plain
from gl10m.view.orders import TileOrder
from gl10m.view.polygons import Polygons
from gl10m.view.template import rendered, viewer_asset

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
"""What the page may load: its own files and nothing else."""

JAVASCRIPT: Final = "text/javascript; charset=utf-8"

_SCENE_FILE = re.compile(r"scene-([0-9]{1,8})/(about\.js|lr\.jpg|[0-9]{2}\.jpg)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One file of the viewer."""

    kind: str
    """Its media type."""
    content: bytes


class Site:
    """The viewer over one data set."""

    def __init__(self, root: Place, catalogue: Catalogue, orders: list[TileOrder]) -> None:
        """Remember what to show; images are opened when first asked for.

        Args:
            root: the data set.
            catalogue: scenes to list.
            orders: in which tiles may be bought; the first is shown first.
        """
        self.root, self.catalogue, self.orders = root, catalogue, orders
        self._polygons = Polygons(root)
        self._source = byte_source(root)
        self._readers: dict[str, tuple[RegionReader, dict[str, int]]] = {}
        self._list: str | None = None
        self._opening = threading.Lock()

    def names(self) -> list[str]:
        """All files, in order."""
        images = ["about.js", "lr.jpg", *(f"{tile:02d}.jpg" for tile in range(TILES))]
        own = [f"scene-{place}/{name}" for place in range(len(self.catalogue)) for name in images]
        return ["index.html", "view.js", "view.css", "icon.svg", "scenes.js", *own]

    def answer(self, name: str) -> Answer | None:
        """The file of this name; None where the viewer has none. No name is ever a path on a disk.

        Raises:
            StoreError: an image is damaged.
            FileNotFoundError: a shard or an index is missing.
        """
        own: dict[str, tuple[str, Callable[[], str]]] = {
            "index.html": ("text/html; charset=utf-8", self._page),
            "view.js": (JAVASCRIPT, lambda: viewer_asset("view.js")),
            "view.css": ("text/css; charset=utf-8", lambda: asset("page.css") + viewer_asset("view.css")),
            "icon.svg": ("image/svg+xml", lambda: viewer_asset("icon.svg")),
            "scenes.js": (JAVASCRIPT, self._scenes),
        }
        if name in own:
            kind, make = own[name]
            return Answer(kind, make().encode())
        match = _SCENE_FILE.fullmatch(name)
        if match is None or int(match[1]) >= len(self.catalogue):
            return None
        return self._of_scene(int(match[1]), match[2])

    def _page(self) -> str:
        return rendered(
            "view.html.j2",
            policy=POLICY,
            title=f"GL-10M scenes of {self.root.resolve().name}",
            attribution=self._attribution(),
            version=gl10m.__version__,
        )

    def _attribution(self) -> list[str]:
        """Whom to name under the pictures, from the manifest's own licences."""
        found = about(self.root).get("gl10m.licences", {})
        return [
            str(terms.get("attribution", "")) if isinstance(terms, dict) else LICENCES[name].attribution
            for name, terms in sorted(found.items())
            if isinstance(terms, dict) or name in LICENCES
        ]

    def _scenes(self) -> str:
        with self._opening:
            if self._list is None:
                orders = [order.name for order in self.orders]
                self._list = _script("scenes", {**self.catalogue.listed(), "orders": orders})
        return self._list

    def _of_scene(self, place: int, name: str) -> Answer | None:
        row = self.catalogue.about(place)
        if name == "about.js":
            return Answer(JAVASCRIPT, _script("about", self._about(place, row)).encode())
        try:
            reader, number = self._find(row["state"], row["scene_id"])
        except (DataSetNotFoundError, SceneNotFoundError):
            return None
        tile = None if name == "lr.jpg" else int(name[:2])
        return Answer("image/jpeg", reader.encoded(number, [tile])[0])

    def _about(self, place: int, row: dict[str, Any]) -> dict[str, object]:
        told = {name: plain(value) for name, value in row.items()}
        shares = row.get("class_shares") or [None] * len(row["class_ids"])
        try:
            reader, number = self._find(row["state"], row["scene_id"])
        except (DataSetNotFoundError, SceneNotFoundError) as error:
            return {
                "place": place,
                "row": told,
                "trouble": str(error),
                "orders": self._orders(row["scene_id"]),
            }
        lr_bytes, hr_bytes = reader.encoded_sizes(number)
        tiles = reader.tile_labels(number)
        west, south, east, north = reader.index.column("bounds")[number].tolist()
        with self._opening:
            outlines = self._polygons.within(row["state"], (west, south, east, north))
        return {
            "place": place,
            "row": told,
            "classes": [
                {
                    "name": self.catalogue.classes[class_id],
                    "share": plain(share),
                    "tiles": tiles[:, class_id].nonzero()[0].tolist(),
                    "outlines": []
                    if isinstance(outlines, str)
                    else [[o.path, o.x, o.y] for o in outlines if o.class_id == class_id],
                }
                for class_id, share in itertools.zip_longest(
                    row["class_ids"], shares[: len(row["class_ids"])]
                )
            ],
            "note": outlines if isinstance(outlines, str) else "",
            "lr_bytes": lr_bytes,
            "hr_bytes": hr_bytes,
            "orders": self._orders(row["scene_id"]),
        }

    def _orders(self, scene_id: str) -> list[list[int] | None]:
        return [order.of(scene_id) for order in self.orders]

    def _find(self, region: str, scene_id: str) -> tuple[RegionReader, int]:
        with self._opening:
            if region not in self._readers:
                self._readers[region] = self._open(region)
        reader, rows = self._readers[region]
        if scene_id not in rows:
            raise SceneNotFoundError(
                f"the index of {region} has no scene {scene_id}, which the manifest names. `gl10m verify` "
                "tells what else does not fit."
            )
        return reader, rows[scene_id]

    def _open(self, region: str) -> tuple[RegionReader, dict[str, int]]:
        # Compared with the names that are there: a region of the manifest is never made a path.
        if region not in {path.stem for path in below(self.root / INDEXES, "[A-Z][A-Z].arrow")}:
            raise DataSetNotFoundError(
                f"{self.root} has no index of {region}, so that its images cannot be found. Run the same "
                "`gl10m build` again, which makes it from the shards."
            )
        index = open_index(index_path(self.root, region))
        rows = {name: row for row, name in enumerate(index.scene_ids)}
        return RegionReader(index, self._source), rows


def _script(call: str, value: dict[str, object]) -> str:
    """Data as a call of the page's own function."""
    return f"gl10m.{call}({embedded(value)});\n"
