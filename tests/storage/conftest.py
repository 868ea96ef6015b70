"""An S3 server for the session, a bucket for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gl10m.storage import client, lease
from gl10m.storage.lease import Lease
from gl10m.storage.place import BucketPath, place_of
from tests.storage.object_server import CREDENTIALS, Proxy, make_bucket, object_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Proxy]:
    with object_server() as proxy:
        yield proxy


@pytest.fixture
def s3(s3_server: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The server, with the environment that leads to it and a cache of this test's own."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.address)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client.forget()
    s3_server.forget()
    yield s3_server
    s3_server.forget()
    client.forget()


@pytest.fixture
def new_root(s3: Proxy) -> Callable[[], BucketPath]:
    """Makes an empty bucket and gives a root in it."""

    def make() -> BucketPath:
        bucket = f"bucket-{next(_numbers)}"
        make_bucket(s3, bucket)
        root = place_of(f"s3://{bucket}/some/data-set")
        assert isinstance(root, BucketPath)
        return root

    return make


@pytest.fixture
def root(new_root: Callable[[], BucketPath]) -> BucketPath:
    return new_root()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], Lease]:
    """A lease as a process of another machine would take it, which then is silent."""

    def take(address: str, seconds: float) -> Lease:
        taken = Lease(address, "a" * 12)
        with monkeypatch.context() as patched:
            patched.setattr(lease, "_identity", lambda: ("another machine", "17 4711"))
            taken.acquire(seconds)
        return taken

    return take
