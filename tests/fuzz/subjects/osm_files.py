"""PBF, XML and OPL, packed or not, read as a build reads them."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import osmium

from gl10m.scene.class_map import ClassMap
from pipelines.sources.osm_file import OsmFileError
from pipelines.stages.polygons import read_polygons
from tests.fuzz.changes import Chance, spoiled_text
from tests.fuzz.subject import Spoiled
from tests.pipelines.test_mutated_osm import MANY, blobs_of, mutated_pbf
from tests.pipelines.test_quick_areas import TRAPS, pbf

PACKED: dict[str, Callable[[bytes], bytes]] = {"osm.gz": gzip.compress, "osm.bz2": bz2.compress}


class OsmFiles:
    name = "OSM PBF"
    vouched = False  # an extract's MD5 is compared when it is downloaded
    errors: tuple[type[Exception], ...] = (OsmFileError,)

    def prepare(self, folder: Path) -> None:
        self.folder, self.class_map = folder, ClassMap.bundled()
        texts = {"traps": TRAPS, "many": MANY}
        self.seeds = {name: blobs_of(pbf(folder, text, f"{name}.osm.pbf")) for name, text in texts.items()}

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.seeds))
        return Spoiled("spoiled.osm.pbf", mutated_pbf(self.seeds[name], chance))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        try:
            outcome = read_polygons(path, "CA", self.class_map)
        finally:
            path.unlink()
        assert outcome.read == outcome.kept.num_rows + outcome.dropped.num_rows
        return False


class OsmTexts(OsmFiles):
    name = "OSM XML and OPL"

    def prepare(self, folder: Path) -> None:
        self.folder, self.class_map = folder, ClassMap.bundled()
        self.plain, world = {}, str(pbf(folder, MANY))
        for ending in ("osm", "opl"):
            path = folder / f"seed.{ending}"
            with osmium.SimpleWriter(str(path)) as writer:
                for entity in osmium.FileProcessor(world):
                    writer.add(entity)
            self.plain[ending] = path.read_bytes()

    def spoil(self, chance: Chance) -> Spoiled:
        ending = chance.choice(["osm", "opl", *PACKED])
        content = spoiled_text(self.plain[ending.removesuffix(".gz").removesuffix(".bz2")], chance)
        return Spoiled(f"spoiled.{ending}", PACKED[ending](content) if ending in PACKED else content)
