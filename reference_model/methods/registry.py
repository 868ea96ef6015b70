"""Everything that can be compared, by name, and one way to run any of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType

import torch
from torch import Tensor

from reference_model.baselines.entry import Assets, Entry
from reference_model.baselines.registry import BASELINES
from reference_model.face import Setting
from reference_model.methods.dense import DENSE_ROWS
from reference_model.methods.ours import OURS
from reference_model.metrics.observation_cost import obr
from reference_model.networks.published import ForeignEntryError, loaded

GROUP = "gl10m.baselines"
"""Entry points of other packages: the name of a row, and an `Entry`."""


class UnknownMethodError(LookupError):
    """No row has that name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row makes of some scenes at one cost."""

    target_obr: float
    draw: int
    selected: Tensor
    """bool (N, 100)."""

    scores: Tensor
    """float32 (N, classes), higher is better."""

    @property
    def obr(self) -> float:
        """What was bought."""
        return obr(self.selected)


def methods() -> Mapping[str, Entry]:
    """All rows by name: those of the package, and those that installed packages register.

    Raises:
        ForeignEntryError: an entry point holds something else than an `Entry` of its name, or takes the name
            of another row.
    """
    known = {**OURS, **DENSE_ROWS, **BASELINES}
    for found in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        if found.name in known:
            raise ForeignEntryError(
                f"entry point {found.name} of group {GROUP} has the name of another row, whose figures it "
                f"would take the place of; {found.value} declares it. Give it another name, or uninstall it."
            )
        entry = loaded(found)
        if not isinstance(entry, Entry) or entry.name != found.name:
            raise ForeignEntryError(
                f"entry point {found.name} of group {GROUP} must hold an Entry of that name; {found.value} "
                f"is {entry!r}. Correct the package that declares it, or uninstall it."
            )
        known[entry.name] = entry
    return MappingProxyType(known)


def outcomes(
    setting: Setting,
    name: str,
    target_obrs: Sequence[float],
    *,
    rows: Tensor | None = None,
    assets: Assets | None = None,
) -> Iterator[Outcome]:
    """Fit a row and run it: every draw of it at every cost.

    Args:
        setting: what is trained on and looked at.
        name: a key of `methods()`.
        target_obrs: shares of tiles to buy; rows that buy none or all do not heed them. See `Entry.budgets`.
        rows: scenes, (N,); the held-out ones if None.
        assets: what the row needs from outside.

    Raises:
        UnknownMethodError: there is no such row.
        MissingAssetError: something that the row needs was not handed over.
        WeightsNotFoundError: weights that the row needs are not on this machine (a FileNotFoundError).
    """
    known = methods()
    if name not in known:
        raise UnknownMethodError(f"a row is one of {', '.join(sorted(known))}; asked for {name!r}")
    entry = known[name]
    rows = torch.from_numpy(setting.job.roles.test) if rows is None else rows
    for draw in range(entry.draws):
        method = entry.make(setting, assets or Assets(), draw)
        method.fit()
        for target in target_obrs if entry.sparse else target_obrs[:1]:
            selected = method.plan(rows, target)
            yield Outcome(target, draw, selected, method.rank(method.embed(rows, selected)))
