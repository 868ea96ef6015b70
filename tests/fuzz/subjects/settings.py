"""Texts of settings: class maps and configurations."""

from pathlib import Path

from gl10m.resources import bundled
from gl10m.scene.class_map import ClassMap, ClassMapError
from pipelines import config
from tests.fuzz.changes import Chance, spoiled_text
from tests.fuzz.subject import Spoiled


class ClassMaps:
    name = "class maps"
    vouched = False
    errors: tuple[type[Exception], ...] = (ClassMapError,)

    def prepare(self, folder: Path) -> None:
        self.path = folder / "map.toml"
        text = bundled("class_maps", "gl10m-66.toml").read_bytes()
        self.whole = b"[[classes]]".join(text.split(b"[[classes]]")[:4])

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled("map.toml", spoiled_text(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        self.path.write_bytes(spoiled.content)
        found = ClassMap.from_file(self.path)
        found.match({"leisure": "golf_course", "area": "yes"}, closed_way=True, area_m2=1e5)
        assert len(found.digest) == 64
        return False


CONFIGURATION = b"""
[footprints]
preset = "sar"
thinning_degrees = 0.024
[subsampling]
rate = 0.5
[matching]
days_each_side = 30
first_naip_day = 2014-01-01
[lr]
most_cloud = 0.5
[hr]
most_black = 0.1
[coverage]
most_cloud_percent = 20.0
[network]
attempts = 5
seconds = 120.5
"""


class Configurations:
    name = "configurations"
    vouched = False
    errors: tuple[type[Exception], ...] = (config.ConfigurationError,)

    def prepare(self, folder: Path) -> None:
        self.path = folder / "build.toml"

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled("build.toml", spoiled_text(CONFIGURATION, chance))

    def read(self, spoiled: Spoiled) -> bool:
        self.path.write_bytes(spoiled.content)
        config.load(self.path).record()
        config.load_patience(self.path)
        return False
