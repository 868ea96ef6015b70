"""What a user asks of `gl10m split`, and the rule that answers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

import gl10m
from gl10m.manifest import split as rules
from gl10m.manifest.columns import texts
from gl10m.manifest.leakage import SHARED
from gl10m.manifest.novel import novel_concepts
from gl10m.manifest.split import BLOCK_DEGREES, BORDER, NOVEL, SplitError
from gl10m.manifest.split_file import split_from_file
from gl10m.report.funnel import published

HEEDED: Final[Mapping[str, frozenset[str]]] = {
    "state": frozenset(),
    "group": frozenset({"seed", "fractions", "shared"}),
    "random": frozenset({"seed", "fractions"}),
    "block": frozenset({"seed", "fractions", "block"}),
    "concept": frozenset({"novel"}),
}
"""Kinds of splits, and the options that each heeds. Any other kind is the name of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """A kind of split with its options; None is an option that was not given."""

    by: str = "state"
    """A kind, or the path of a CSV or Parquet file."""
    seed: int | None = None
    fractions: Mapping[str, float] | None = None
    """Share of each split; the paper's if None."""
    block: float | None = None
    """Side of a block, degrees."""
    shared: tuple[str, ...] | None = None
    """What keeps two scenes together, of SHARED; all if None."""
    novel: tuple[str, ...] | None = None
    """Names of the concepts to hold out; ours if None."""
    apart: bool = False
    """Set aside what overlaps another split. A split by blocks does so in any case."""

    def __post_init__(self) -> None:
        """Refuse an option that the kind does not heed.

        Raises:
            SplitError: one is given.
        """
        for option in ("seed", "fractions", "block", "shared", "novel"):
            if getattr(self, option) is not None and option not in HEEDED.get(self.by, ()):
                heeding = [kind for kind, heeded in HEEDED.items() if option in heeded]
                raise SplitError(f"--{option} is for --by {' or '.join(heeding)}; got --by {self.by}")

    @property
    def rule(self) -> str:
        """The kind in a word, as it stands in the manifest."""
        return self.by if self.by in HEEDED else f"file {Path(self.by).name}"

    @property
    def shares(self) -> dict[str, float] | None:
        """The shares asked for; None for a kind that asks for none."""
        if "fractions" not in HEEDED.get(self.by, ()):
            return None
        return dict(self.fractions) if self.fractions is not None else paper_shares()

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides the split, defaults filled in."""
        filled: dict[str, Any] = {
            "seed": self.seed or 0,
            "fractions": self.shares,
            "block": BLOCK_DEGREES if self.block is None else self.block,
            "shared": sorted(SHARED if self.shared is None else set(self.shared)),
            "novel": list(novel_concepts() if self.novel is None else self.novel),
        }
        found: dict[str, Any] = {name: filled[name] for name in sorted(HEEDED.get(self.by, ()))}
        if self.by not in HEEDED:
            found["sha256"] = hashlib.sha256(Path(self.by).read_bytes()).hexdigest()
        return found | {"apart": self.apart or self.by == "block"}

    @property
    def aside(self) -> frozenset[str]:
        """Splits whose scenes the rule sets aside."""
        found = {BORDER} if self.parameters["apart"] else set()
        return frozenset(found | ({NOVEL} if self.by == "concept" else set()))

    def apply(self, scenes: pa.Table, class_names: Sequence[str]) -> pa.Table:
        """Split scenes.

        Args:
            scenes: as in SCENES.
            class_names: by class id.

        Returns:
            Schema SPLITS, sorted by scene id.

        Raises:
            SplitError: the rule or the file does not say the split of every scene.
        """
        splits = self._apply(scenes, class_names)
        if self.parameters["apart"]:
            splits = rules.set_border_aside(scenes, splits)
        return splits.sort_by("scene_id")

    def _apply(self, scenes: pa.Table, class_names: Sequence[str]) -> pa.Table:
        asked, shares = self.parameters if self.by in HEEDED else {}, self.shares
        if self.by == "state":
            return rules.split_by_state(scenes)
        if self.by == "concept":
            return rules.split_by_concept(scenes, _ids(asked["novel"], class_names))
        if shares is None:
            return split_from_file(Path(self.by), scenes)
        if self.by == "random":
            return rules.split_random(scenes, asked["seed"], shares)
        if self.by == "block":
            return rules.split_by_block(scenes, asked["seed"], shares, asked["block"])
        return rules.split_by_group(scenes, asked["seed"], shares, asked["shared"])

    def metadata(self, splits: pa.Table) -> dict[str, str]:
        """How the split was made, for the manifest's own metadata.

        Args:
            splits: schema SPLITS, sorted by scene id.
        """
        parameters = self.parameters
        found = {
            "gl10m.version": gl10m.__version__,
            "gl10m.split": self.rule,
            "gl10m.split_parameters": json.dumps(parameters, sort_keys=True),
            "gl10m.split_aside": json.dumps(sorted(self.aside)),
            "gl10m.split_scenes": hashlib.sha256("\n".join(texts(splits, "scene_id")).encode()).hexdigest(),
        }
        return found | ({"gl10m.split_seed": str(parameters["seed"])} if "seed" in parameters else {})


def paper_shares() -> dict[str, float]:
    """The shares of the paper's splits (A.4)."""
    counts = published()["splits"]
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def _ids(novel: Sequence[str], class_names: Sequence[str]) -> list[int]:
    unknown = [name for name in novel if name not in class_names]
    if unknown:
        raise SplitError(
            f"the data set has no class {', '.join(map(repr, unknown))} to hold out; name some with "
            f"--novel, of {', '.join(class_names)}"
        )
    return [class_names.index(name) for name in novel]
