"""The arena behind signatures: every build asks the archive through a proxy, the undisturbed one as well."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.account import Course, followed, in_folder
from tests.faults.archive import Archive, SignedTown, archive
from tests.faults.ledger import Row
from tests.faults.network import Network, bad_network, patience
from tests.torture.arena import Arena, Ended, finish

PATIENT = "circuit_seconds = 2"
"""Attempts and circuits are those that a build has by itself; only its waits are short."""

LONGEST = 900.0
"""Seconds that a build may take: where 30 % of the answers stall for a second each, many of them in a row."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The archive and its measure."""

    arena: Arena
    archive: Archive

    def build(self, trial: Path, network: Network, **environment: str) -> Ended:
        """One run over a network."""
        building = self.arena.start(trial, *self.asked(trial), **self.environment(network, **environment))
        return finish(building, LONGEST)

    def asked(self, trial: Path) -> tuple[str, ...]:
        """Arguments of every run."""
        return ("--workers", "2", "--config", patience(trial, PATIENT))

    def environment(self, network: Network, **more: str) -> dict[str, str]:
        """Variables of every run."""
        return {**self.archive.environment(network.address), **more}

    def course(self, fault: str, trial: Path, network: Network, **environment: str) -> Course:
        """How a build over a network is followed."""
        refused = self.archive.refused
        return in_folder(
            self.arena,
            trial,
            fault,
            lambda: self.build(trial, network, **environment),
            lambda: int(network.tally()["faults"]) + self.archive.refused - refused,
            lambda: int(network.tally()["requests"]),
        )

    def trial(self, fault: str, rate: float, seed: int, kinds: tuple[str, ...]) -> Row:
        """One build on a network, to its end."""
        trial = self.arena.place()
        chosen = [word for kind in kinds for word in ("--kind", kind)]
        with bad_network(rate, seed, *self.archive.host, *chosen) as network:
            course = self.course(fault, trial, network)
            row = followed(course, self.build(trial, network))
        self.arena.clear(trial)
        return row


@contextlib.contextmanager
def signed(ready: Arena) -> Iterator[Signed]:
    """The town of an arena behind signatures, built undisturbed."""
    with archive(ready.world) as own:
        folder = ready.folder / "signed"
        arena = Arena(folder, own.world, SignedTown(ready.town.osm, own.world.url))
        made = Signed(arena, own)
        with bad_network(0.0, 0, *own.host) as network:
            arena.measure(
                "--workers", "2", "--config", patience(folder, PATIENT), **made.environment(network)
            )
        yield made
