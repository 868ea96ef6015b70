"""A reader that does all that none may do: to try the driver."""

import os
import signal
from pathlib import Path

from gl10m.scene.class_map import ClassMapError
from tests.fuzz.changes import Chance
from tests.fuzz.subject import Spoiled

DEEDS = ("die", "index", "refuse")


class Dying:
    name = "misbehaving"
    vouched = False
    errors: tuple[type[Exception], ...] = (ClassMapError,)

    def prepare(self, folder: Path) -> None:
        del folder

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled(DEEDS[chance.randrange(len(DEEDS))], b"")

    def read(self, spoiled: Spoiled) -> bool:
        if spoiled.name == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if spoiled.name == "index":
            raise IndexError("not of ours")
        raise ClassMapError("a class map without classes")
