"""What can be wrong with a data set, told by file, scene and remedy."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from gl10m.store.layout import StoreError
from gl10m.store.region_index import INDEX_REMEDY
from gl10m.store.shard import REMEDY

MANIFEST_REMEDY: Final = "`gl10m repair` makes it anew; so does the same `gl10m build`."
"""What to do about a manifest that is missing, damaged, or of another build than the shards."""

SPLIT_REMEDY: Final = "Run `gl10m split` again."
"""What to do about scenes and splits that do not fit each other."""

FOREIGN: Final = "Move it elsewhere: data/ and index/ hold what `gl10m build` wrote, and nothing else."
"""What to do about a file that no index names."""

UNNAMED: Final = "The next `gl10m build` deletes it if a build left it there; move anything else elsewhere."
"""What to do about such an object in a bucket."""

REGISTER_REMEDY: Final = "`gl10m repair` makes it anew from the objects; `gl10m build` then goes on."
"""What to do about a damaged register."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a data set."""

    file: str
    """Path below the root: data/CA-00000-of-00003.parquet."""
    scene: str | None
    """Scene id, where the problem is of one scene."""
    what: str
    """What is wrong, in one line."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        scene = f" {self.scene}:" if self.scene else ""
        return f"{self.file}:{scene} {self.what} {self.remedy}"

    def record(self) -> Mapping[str, str | None]:
        """As a JSON object, one key a field."""
        return asdict(self)


def without_remedy(error: StoreError) -> str:
    """The message of an error without the remedy, which a problem tells by itself."""
    return str(error).removesuffix(REMEDY).removesuffix(INDEX_REMEDY).strip()
