"""The viewer's files: what is served, what is refused, in which order tiles are bought."""

import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet, seal
from gl10m.manifest.parquet import metadata_of
from gl10m.manifest.provenance import made_from
from gl10m.manifest.schema import SCENES
from gl10m.store import codec
from gl10m.store.reader import SceneNotFoundError
from gl10m.view.catalogue import Catalogue
from gl10m.view.command import site_of
from gl10m.view.orders import FileOrder, OrderFileError, RandomOrder
from gl10m.view.server import ViewServer
from gl10m.view.site import Site
from gl10m.view.static import FolderTakenError, write_static
from tests.loopback import served
from tests.store.small_scenes import METADATA, build, numbers, written
from tests.store.test_integrity import flip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("view") / "set", splits={"CA": "train", "WA": "val"}, CA=4, WA=2)


@pytest.fixture(scope="module")
def site(root: Path) -> Site:
    return site_of(root, (), None, (), 0, is_static=False)


def told(site: Site, name: str) -> dict[str, Any]:
    """What a data script hands to the page."""
    answer = site.answer(name)
    assert answer is not None
    text = answer.content.decode()
    data: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return data


def test_a_tile_is_the_one_of_its_name(site: Site) -> None:
    answer = site.answer("scene-2/47.jpg")
    assert answer is not None
    assert numbers(codec.decode(answer.content)) == (47, 2)


def test_a_scene_tells_its_classes_tiles_and_price(site: Site) -> None:
    about = told(site, "scene-1/about.js")
    assert about["row"]["scene_id"] == "CA-w1001"
    assert about["row"]["split"] == "train"
    assert [(entry["name"], entry["tiles"]) for entry in about["classes"]] == [("Golf course", [1])]
    assert len(about["hr_bytes"]) == 100
    assert sorted(about["orders"][0]) == list(range(100))
    assert "journal of the build is not here" in about["note"]


def note_of(root: Path) -> str:
    """Why the page shows tiles in the place of outlines; empty where it shows outlines."""
    told_of_first = told(site_of(root, (), None, (), 0, is_static=False), "scene-0/about.js")
    assert bool(told_of_first["note"]) != any(entry["outlines"] for entry in told_of_first["classes"])
    return str(told_of_first["note"])


def test_outlines_of_another_build_are_not_drawn(built: Path, tried: Path) -> None:
    assert note_of(built) == ""
    assert "are not those that the scenes were labelled with" in note_of(tried)


def test_outlines_of_another_osm_file_or_of_an_earlier_gl10m_are_not_drawn(
    built: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    (path,) = (root / ".gl10m" / "stages" / "CA").glob("classes-*.kept.parquet")
    table = pq.read_table(path)
    digest = metadata_of(root / "manifests" / "scenes.parquet")["gl10m.inputs"]
    for about in (made_from("CA", json.loads(digest)["class_map"], 64 * "0"), {}):
        sealed = {**about, seal.KEY.encode(): seal.BLANK.encode()}
        pq.write_table(table.replace_schema_metadata(sealed), path)
        seal.seal(path)
        assert "are not those that the scenes were labelled with" in note_of(root)


def test_outlines_of_which_a_byte_of_the_footer_has_changed_are_not_drawn(
    built: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    (path,) = (root / ".gl10m" / "stages" / "CA").glob("classes-*.kept.parquet")
    flip(path, path.read_bytes().rindex(b"gl10m.schema_version"))
    assert "cannot be read" in note_of(root)


NOT_THERE = [
    "../view.js",
    "scene-0/../../etc/passwd",
    "/etc/passwd",
    "scene-0/100.jpg",
    "scene-6/lr.jpg",
    "scene-٣/lr.jpg",
    "scene-0/lr.jpg\n",
    "manifests/scenes.parquet",
]


@pytest.mark.parametrize("name", NOT_THERE)
def test_other_names_are_no_files(site: Site, name: str) -> None:
    assert site.answer(name) is None


@pytest.fixture(scope="module")
def ask(site: Site) -> Iterator[Callable[..., http.client.HTTPResponse]]:
    server = ViewServer(site)
    with served(server):

        def ask(path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, path, headers={"Host": host} if host else {})
            answered = connection.getresponse()
            answered.read()
            connection.close()
            return answered

        yield ask


def test_the_server_answers_under_its_own_name_alone(ask: Callable[..., http.client.HTTPResponse]) -> None:
    assert ask("/").status == 200
    assert ask("/", host="evil.example").status == 421
    assert ask("/scene-0/lr.jpg", host="evil.example:80").status == 421
    assert ask("/scene-0/..%2F..%2Fetc%2Fpasswd").status == 404
    assert ask("/", method="POST").status == 501
    assert "default-src 'none'" in str(ask("/view.js", method="HEAD").headers["Content-Security-Policy"])


def test_a_damaged_image_is_told_and_not_shown(tmp_path: Path) -> None:
    copy = build(tmp_path / "set", CA=1)
    shard = next((copy / "data").glob("*.parquet"))
    content = bytearray(shard.read_bytes())
    place = content.index(b"\xff\xd8\xff")
    content[place + 400] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        site_of(copy, (), None, (), 0, is_static=False).answer("scene-0/lr.jpg")


def test_a_random_order_is_the_seeds() -> None:
    assert RandomOrder(3).of("CA-w1") == RandomOrder(3).of("CA-w1")
    assert RandomOrder(3).of("CA-w1") != RandomOrder(4).of("CA-w1")
    assert RandomOrder(3).of("CA-w1") != RandomOrder(3).of("CA-w2")


def order_file(folder: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), folder / "mine.parquet")
    return folder / "mine.parquet"


def test_an_order_file_is_read_by_rank(tmp_path: Path) -> None:
    path = order_file(
        tmp_path, scene_id=["WA-w1", "CA-w2", "WA-w1", "CA-w2"], rank=[1, 0, 0, 5], tile=[9, 8, 7, 6]
    )
    order = FileOrder(path)
    assert order.name == "mine"
    assert order.of("WA-w1") == [7, 9]
    assert order.of("CA-w2") == [8, 6]
    assert order.of("TX-w3") is None


WRONG = [
    ({"scene_id": ["CA-w1"], "tile": [1]}, "lacks the columns rank"),
    ({"scene_id": ["CA-w1"], "rank": [0], "tile": [100]}, "not in 0..99"),
    ({"scene_id": ["CA-w1"] * 2, "rank": [0, 1], "tile": [3, 3]}, "a tile twice"),
    ({"scene_id": ["CA-w1"] * 2, "rank": [0, 0], "tile": [3, 4]}, "a rank twice"),
]


@pytest.mark.parametrize(("columns", "said"), WRONG)
def test_a_wrong_order_file_is_refused(tmp_path: Path, columns: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(OrderFileError, match=said):
        FileOrder(order_file(tmp_path, **columns))


def test_a_folder_holds_the_chosen_scenes(root: Path, tmp_path: Path) -> None:
    write_static(site_of(root, ("WA-w1001",), None, (), 0, is_static=True), tmp_path / "out")
    assert len(list((tmp_path / "out" / "scene-0").iterdir())) == 102
    assert not (tmp_path / "out" / "scene-1").exists()
    with pytest.raises(FolderTakenError, match="new or an empty folder"):
        write_static(site_of(root, (), 1, (), 0, is_static=True), tmp_path / "out")


def test_an_unknown_scene_is_refused(root: Path) -> None:
    with pytest.raises(SceneNotFoundError, match="holds no scene CA-w7"):
        Catalogue(root, ("CA-w7",))


def test_a_missing_column_and_a_missing_split_are_told(tmp_path: Path) -> None:
    root = build(tmp_path / "set", CA=2)
    path = root / "manifests" / "scenes.parquet"
    written(path, pq.read_table(path).drop_columns(["sentinel2_date"]))
    notes = told(site_of(root, (), None, (), 0, is_static=False), "scenes.js")["notes"]
    assert "lacks the columns sentinel2_date" in notes[0]
    assert "gl10m split" in notes[1]


def test_an_empty_data_set_has_a_page(tmp_path: Path) -> None:
    parquet.write(tmp_path / "manifests" / "scenes.parquet", SCENES.empty(), SCENES, METADATA)
    listed = told(site_of(tmp_path, (), None, (), 0, is_static=False), "scenes.js")
    assert listed["ids"] == []
    assert any("holds no scene" in note for note in listed["notes"])


def test_markup_in_a_scene_name_stays_in_its_string(tmp_path: Path) -> None:
    root = build(tmp_path / "set", CA=1)
    path = root / "manifests" / "scenes.parquet"
    table = pq.read_table(path)
    name = "CA-</script><b>"
    written(path, table.set_column(0, table.schema.field(0), pa.array([name])))
    site = site_of(root, (), None, (), 0, is_static=False)
    answer = site.answer("scenes.js")
    assert answer is not None
    assert b"<" not in answer.content
    about = told(site, "scene-0/about.js")
    assert about["row"]["scene_id"] == name
    assert "which the manifest names" in about["trouble"]
