"""Files that claim or unpack to more than they are: an error in bounded memory."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet, seal
from gl10m.manifest.schema import CANDIDATES, SPLITS
from gl10m.store.integrity import verify
from gl10m.store.layout import StoreError, index_path
from gl10m.store.memory import bounded
from gl10m.store.region_index import open_index
from gl10m.store.shard import open_shard
from tests.store.small_scenes import build

SHARD = "data/CA-00000-of-00001.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path, CA=2)
    return tmp_path


def test_a_shard_that_is_compressed_is_refused_by_its_footer(root: Path) -> None:
    rows = pq.read_table(root / SHARD)
    pq.write_table(rows, root / SHARD, compression="zstd")
    with pytest.raises(StoreError, match="compressed or rewritten"):
        open_shard(root / SHARD)
    assert any(problem.file == SHARD for problem in verify(root, deep=True))


def test_a_shard_with_all_scenes_in_one_group_of_too_many_is_refused(root: Path) -> None:
    rows = pa.concat_tables([pq.read_table(root / SHARD)] * 9)
    pq.write_table(rows, root / SHARD, compression="none", use_dictionary=False)
    with pytest.raises(StoreError, match="claims 18 scenes in a row group"):
        open_shard(root / SHARD)


BOMB = """
    import sys
    from pathlib import Path
    import pyarrow as pa
    from gl10m.store import memory
    from gl10m.store.integrity import verify

    pa.set_cpu_count(1)
    with memory.bounded(1 << 30):
        for problem in verify(Path(sys.argv[1]), threads=1):
            print(problem)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            print("most", int(line.split()[1]) // 1024)
"""


def verified(root: Path) -> tuple[str, int]:
    """What a verification in a process of its own says, and the most memory it took, MB."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMB), str(root)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *lines, most = ended.stdout.splitlines()
    return "\n".join(lines), int(most.split()[1])


def test_a_shard_whose_columns_are_nested_otherwise_ends_no_process(root: Path) -> None:
    """One bit of the footer: a column is no longer optional, and pyarrow aborts when it is looked at."""
    optional_text = b"\x15\x0c\x25\x02\x18"  # in Thrift: a column of bytes, may be null, named ...
    content = (root / SHARD).read_bytes()
    place = content.rfind(optional_text)
    assert place > 0
    (root / SHARD).write_bytes(content[: place + 2] + b"\x24" + content[place + 3 :])
    said, _ = verified(root)
    assert f"{SHARD}: " in said


def test_a_manifest_that_unpacks_to_gigabytes_is_a_problem_and_no_crash(root: Path) -> None:
    """1.3 MB of Parquet that are 8 GB of text: one long name, told again and again through a dictionary."""
    count, length = 8_000, 1_000_000
    name = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["A" * length]))
    declared = {key.decode(): value.decode() for key, value in (SPLITS.schema.metadata or {}).items()}
    table = pa.table({"scene_id": name, "split": pa.array(["train"] * count)})
    path = root / "manifests/splits.parquet"
    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**declared, seal.KEY: seal.BLANK})
    seal.seal(path)
    assert path.stat().st_size < 2_000_000
    said, most = verified(root)
    assert "manifests/splits.parquet" in said
    assert most < 1600


def test_an_index_that_unpacks_to_gigabytes_is_a_problem_and_no_crash(root: Path) -> None:
    path = index_path(root, "CA")
    index = open_index(path)
    rows = index.rows
    labels = pa.array([b"\0" * 1_900_000_000], pa.binary())
    place = rows.schema.get_field_index("tile_labels")
    one = rows.slice(0, 1).set_column(place, rows.schema.field("tile_labels"), labels)
    about = dict(rows.schema.metadata or {})
    about[seal.KEY.encode()] = seal.BLANK.encode()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, one.schema, options=options) as writer:
        writer.write_table(one.replace_schema_metadata(about))
    seal.seal(path)
    assert path.stat().st_size < 2_000_000
    said, most = verified(root)
    assert "index/CA.arrow" in said
    assert most < 1600


def test_a_footer_that_claims_billions_of_rows_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_MANIFEST_ROWS", 1)
    with pytest.raises(parquet.ManifestError, match="claims 2 rows"):
        parquet.read(root / "manifests/candidates.parquet", CANDIDATES)


def test_the_bound_is_taken_off_again() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded(1 << 30):
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
