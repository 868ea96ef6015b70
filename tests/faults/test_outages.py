"""A store that goes is gone, and is back under its address; what it refused is counted."""

import time
from collections.abc import Iterator

import pytest

from gl10m.storage import client
from gl10m.storage.client import StorageUnavailableError
from tests.faults.outages import Outage, bucket_server
from tests.storage.object_server import Proxy, make_bucket


@pytest.fixture(scope="module")
def store() -> Iterator[Proxy]:
    with bucket_server() as running:
        make_bucket(running, "bucket")
        yield running


@pytest.mark.parametrize("absent", [False, True], ids=["answers 503", "takes no connection"])
def test_a_short_outage_is_waited_out(store: Proxy, absent: bool) -> None:
    client.put("s3://bucket/x", "before", b"1")
    outage = store.fault = Outage(store, "/data/", 5.0, absent)
    client.put("s3://bucket/x", "stages/a", b"2")
    assert outage.refused == 0
    began = time.monotonic()
    client.put("s3://bucket/x", "data/b", b"3")
    assert time.monotonic() - began > 4.9
    assert outage.refused > 0
    outage.over()
    assert client.read("s3://bucket/x", "data/b")[0] == b"3"
    store.fault = None


def test_one_that_is_longer_than_patience_is_told(store: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    client.forget()
    outage = store.fault = Outage(store, "/data/", 3.0, absent=True)
    with pytest.raises(StorageUnavailableError):
        client.put("s3://bucket/x", "data/c", b"3")
    outage.over()
    client.put("s3://bucket/x", "data/c", b"3")
    store.fault = None
