"""Exports out of a bucket: the files of a local one, and addresses of the bucket's."""

import json
from pathlib import Path

from gl10m.export.pixels import export_pixels
from gl10m.export.selection import TileChoice, select
from gl10m.export.stac import export_stac
from gl10m.export.webdataset import WEBDATASET
from gl10m.report.card import native_card, write_card
from gl10m.report.facts import facts_of
from gl10m.storage.place import BucketPath
from tests.export.conftest import contents
from tests.storage.data_sets import place
from tests.storage.object_server import Proxy, publish
from tests.store.small_scenes import build


def test_an_export_out_of_a_bucket_is_that_out_of_a_folder(
    s3: Proxy, root: BucketPath, tmp_path: Path
) -> None:
    local = build(tmp_path / "local", {"CA": "train", "WA": "test"}, CA=3, WA=2)
    publish(local, root)
    choice = TileChoice.parse("3,47")
    for source, name in ((local, "one"), (place(root), "two")):
        export_pixels(select(source), tmp_path / name, choice, 2, WEBDATASET)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    export_stac(select(place(root)), tmp_path / "stac", None)
    (first, *_) = sorted((tmp_path / "stac" / "items" / "CA").iterdir())
    href = json.loads(first.read_text())["assets"]["lr"]["href"]
    key = href.removeprefix(f"{root}/")
    assert key in {entry.key for entry in place(root).root.files.values()}
    write_card(place(root))
    s3.forget()
    write_card(place(root))
    assert s3.sent("PUT") == []
    assert (place(root) / "README.md").read_text() == native_card(facts_of(local))
