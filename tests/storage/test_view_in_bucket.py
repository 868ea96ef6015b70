"""The viewer and the report over a data set in a bucket."""

import pytest

from gl10m.report.page.assembly import report_page
from gl10m.storage.place import BucketPath
from gl10m.store import codec
from gl10m.view.command import site_of
from tests.store.small_scenes import build, numbers


@pytest.fixture
def filled(root: BucketPath) -> BucketPath:
    return build(root, splits={"CA": "train"}, CA=2)


def test_tiles_come_by_ranges(filled: BucketPath) -> None:
    answer = site_of(filled, (), None, (), 0, is_static=False).answer("scene-1/30.jpg")
    assert answer is not None
    assert numbers(codec.decode(answer.content)) == (30, 1)


def test_the_report_reads_the_bucket(filled: BucketPath) -> None:
    page = report_page(filled, samples=1)
    assert page.count("data:image/jpeg;base64,") == 2
    assert "CA-w" in page
