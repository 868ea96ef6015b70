"""What names a place, and what must not stand in it."""

from pathlib import Path

import pytest

from gl10m.storage.address import StorageAddressError
from gl10m.storage.place import BucketPath, object_at, place_of


@pytest.mark.parametrize(
    "address", ["s3://bucket", "s3://bucket/some/prefix", "gs://bucket/x", "az://container/x"]
)
def test_a_bucket_is_named_as_fsspec_names_it(address: str) -> None:
    place = place_of(f"{address}/")
    assert isinstance(place, BucketPath)
    assert str(place) == address
    assert str(place / "manifests" / "scenes.parquet") == f"{address}/manifests/scenes.parquet"


def test_a_folder_is_a_path_also_as_a_file_address(tmp_path: Path) -> None:
    assert place_of("some/folder") == Path("some/folder")
    assert place_of(tmp_path) == tmp_path
    assert place_of(f"file://{tmp_path}/a%20b") == tmp_path / "a b"


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:canary@bucket/x",
        "s3://bucket/x?AWS_SECRET_ACCESS_KEY=canary",
        "s3://bucket/../other",
        "s3://",
        "s3://bucket/a b",
        "ftp://host/x",
        "file://host/x",
    ],
)
def test_credentials_and_odd_addresses_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(StorageAddressError) as refused:
        place_of(address)
    assert "canary" not in str(refused.value)


def test_an_object_is_named_by_its_whole_address() -> None:
    place = object_at("s3://bucket/maps/mine.toml")
    assert (place.root.address, place.name) == ("s3://bucket/maps", "mine.toml")
    with pytest.raises(StorageAddressError, match="an object is"):
        object_at("s3://bucket")
