"""The journal of a build, and the small records beside downloads, publications and clusters."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import requests

from gl10m.manifest.schema import CANDIDATES, REJECTIONS
from pipelines.execution.cluster import ClusterUnavailableError, _address_in
from pipelines.execution.fragments import DamagedFragmentError, Receipts, make_fragment, note_keys, read_scene
from pipelines.execution.journal import Journal
from pipelines.execution.logbook import last
from pipelines.execution.notes import Notes
from pipelines.execution.publication import JournalError, Transaction
from pipelines.execution.workplace import _said
from pipelines.sources import geofabrik, signing
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.download import DownloadError
from pipelines.sources.partial_file import Whole, recall
from pipelines.sources.passing import PassingFault
from pipelines.sources.patience import Patience
from tests.execution.test_journal import outcome_of
from tests.fuzz.changes import Chance, spoiled, spoiled_json, spoiled_text
from tests.fuzz.subject import Spoiled
from tests.pipelines.imagery_server import World, serving
from tests.store.small_scenes import fetched

KEYS = {f"CA-w{1000 + number}": f"{number:020x}" for number in range(3)}


class Journals:
    name = "journals"
    vouched = True
    errors: tuple[type[Exception], ...] = (DamagedFragmentError,)

    def prepare(self, folder: Path) -> None:
        self.journal = Journal(folder / "root")
        receipts = Receipts(self.journal)
        fragment = make_fragment(KEYS, fetched(range(3)), REJECTIONS.empty())
        path = self.journal.write_fragment(fragment)
        notes = Notes(self.journal)
        notes.add(path, receipts.load())
        notes.write()
        note_keys(self.journal, "CA", KEYS)
        self.stage()
        self.files = {path: path.read_bytes() for path in sorted((folder / "root").rglob("*.parquet"))}
        self.expected = self.told()

    def stage(self) -> list[dict[str, Any]]:
        """A table of a stage: read back, or made again where it is damaged."""
        table = pa.Table.from_pylist([{"scene_id": "CA-w1", "state": "CA"}], schema=CANDIDATES.schema)
        kept = self.journal.table("classes", "CA", "key", lambda: table)
        outcome = self.journal.stage("polygons", "CA", "key", lambda: outcome_of(["way/1", "way/2"]))
        return [*kept.to_pylist(), *outcome.dropped.to_pylist(), *outcome.kept.to_pylist()]

    def told(self) -> list[Any]:
        receipts = Receipts(self.journal)
        scenes = [
            (key, read_scene(path, row).to_pylist())
            for key, path, row in receipts.payload(set(KEYS.values()))
        ]
        return [self.stage(), receipts.finished("CA"), scenes]

    def spoil(self, chance: Chance) -> Spoiled:
        number = chance.randrange(len(self.files))
        return Spoiled(str(number), spoiled(list(self.files.values())[number], chance))

    def read(self, spoiled: Spoiled) -> bool:
        list(self.files)[int(spoiled.name)].write_bytes(spoiled.content)
        try:
            stage, finished, scenes = self.told()
            # A fragment that cannot be read counts as not there: its scenes are fetched again.
            whole = [scene for scene in self.expected[2] if scene in scenes] == scenes
            counted = finished is None or finished <= self.expected[1]
            return stage == self.expected[0] and whole and counted
        finally:
            for path, content in self.files.items():
                path.write_bytes(content)


class Records:
    name = "records, pins, tokens, indexes of extracts"
    vouched = False
    errors: tuple[type[Exception], ...] = (
        JournalError,
        ClusterUnavailableError,
        DownloadError,
        PassingFault,
        RefusedAddressError,
    )

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".gl10m").mkdir()
        self.world = World()
        self.running = serving(self.world)
        self.running.__enter__()
        index = {
            "features": [
                {
                    "properties": {
                        "id": "us/california",
                        "urls": {"pbf": f"{self.world.url}/ca-latest.osm.pbf"},
                    }
                }
            ]
        }
        self.seeds = {
            "pin": json.dumps(
                {"address": "http://x.org/a", "etag": "x", "modified": None, "size": 3}
            ).encode(),
            "build.json": json.dumps({"mark": "", "software": {"gl10m": "1"}}).encode(),
            "log.jsonl": b'{"event": "begun", "time": "x"}\n{"event": "done"}\n',
            "commit.txt": b"put\tdata/CA-00000-of-00001.parquet\ndrop\tindex/CA.arrow",
            "scheduler.json": json.dumps({"type": "Scheduler", "address": "tcp://127.0.0.1:8786"}).encode(),
            "token": json.dumps({"msft:expiry": "2999-01-01T00:00:00Z", "token": "st=1&sig=x"}).encode(),
            "index": json.dumps(index).encode(),
            "listing": b'<a href="ca-250101.osm.pbf">x</a><a href="ca-250101.osm.pbf.md5">y</a>',
            "md5": b"0123456789abcdef0123456789abcdef  ca-250101.osm.pbf\n",
        }

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.seeds))
        content = self.seeds[name]
        change = spoiled_json if content.startswith(b"{") and name != "log.jsonl" else spoiled_text
        return Spoiled(name, change(content, chance))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / ".gl10m" / spoiled.name
        path.write_bytes(spoiled.content)
        match spoiled.name:
            case "pin":
                Whole.of(recall(path))
            case "build.json":
                _said(Journal(self.folder))
            case "log.jsonl":
                last(path), last(path, "begun")
            case "commit.txt":
                Transaction(self.folder).recover()
            case "scheduler.json":
                _address_in(path)
            case "token":
                answer = requests.Response()
                answer._content, answer.status_code = spoiled.content, 200  # noqa: SLF001
                token = signing._read(answer)  # noqa: SLF001 - what a token server says
                assert "\n" not in token.query
            case _:
                self._offered(spoiled)
        return False

    def close(self) -> None:
        self.running.__exit__(None, None, None)

    def _offered(self, spoiled: Spoiled) -> None:
        told = {**self.seeds, spoiled.name: spoiled.content}
        self.world.files = {
            geofabrik.INDEX: told["index"],
            "": told["listing"],
            "ca-250101.osm.pbf.md5": told["md5"],
            "ca-latest.osm.pbf.md5": told["md5"],
        }
        hasty = Patience(
            attempts=1,
            connect_seconds=0.3,
            stall_seconds=1,
            wait_initial=0.01,
            jitter=0,
            circuit_failures=10**9,
        )
        offer = geofabrik.offered("us/california", self.world.url, hasty)
        assert offer.address.startswith("http")
