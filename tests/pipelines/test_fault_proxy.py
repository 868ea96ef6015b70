"""The bad network does what it says, each fault alone and on every request."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from pipelines.sources.passing import BROKEN
from scripts.fault_proxy import KINDS, PAGE, FaultProxy
from scripts.fault_proxy.__main__ import main
from tests.pipelines.imagery_server import World, serving

BODY = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with serving(World(files={"x.tif": BODY, "empty": b""})) as running:
        yield running


@contextlib.contextmanager
def running(proxy: FaultProxy) -> Iterator[str]:
    """The proxy on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(30)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """End what still stalls or pumps."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def ask(world: World, proxy: str, span: str = "bytes=0-9999", query: str = "") -> requests.Response:
    return requests.get(
        f"{world.url}/x.tif{query}", headers={"Range": span}, proxies={"http": proxy}, timeout=30
    )


def spoiled(world: World, kind: str, *, query: str = "") -> requests.Response:
    with running(FaultProxy(1.0, 1, (kind,), stall_seconds=0.1)) as proxy:
        return ask(world, proxy, query=query)


def test_without_faults_it_hands_on_what_it_gets(world: World) -> None:
    proxy = FaultProxy(0.0, 1)
    with running(proxy) as address:
        with requests.Session() as session:
            session.proxies = {"http": address}
            for _ in range(3):
                answer = session.get(f"{world.url}/x.tif", headers={"Range": "bytes=100-199"}, timeout=30)
                assert (answer.status_code, answer.content) == (206, BODY[100:200])
                assert answer.headers["Content-Range"] == f"bytes 100-199/{len(BODY)}"
        told = requests.get(f"{address}/faults", timeout=30).json()
    assert told == {"requests": 3, "faults": 0, "by_kind": {}, "refused": 0}


@pytest.mark.parametrize(
    ("kind", "status", "wait"),
    [("429", 429, None), ("429 in 1 s", 429, "1"), ("429 until", 429, "GMT"), ("503", 503, None)],
)
def test_statuses(world: World, kind: str, status: int, wait: str | None) -> None:
    answer = spoiled(world, kind)
    assert answer.status_code == status
    assert answer.headers.get("Retry-After", "").endswith(wait or "")
    assert ("Retry-After" in answer.headers) == (wait is not None)


def test_a_clock_that_is_ahead_dates_its_answers(world: World) -> None:
    with running(FaultProxy(1.0, 1, ("429 until",), ahead=3600.0)) as proxy:
        answer = ask(world, proxy)
    now, then = (parsedate_to_datetime(answer.headers[name]) for name in ("Date", "Retry-After"))
    assert (then - now).total_seconds() == 1
    assert abs((now - datetime.now(UTC)).total_seconds() - 3600) < 60


def test_a_page_with_a_good_status(world: World) -> None:
    answer = spoiled(world, "page")
    assert (answer.status_code, answer.content) == (206, PAGE)


@pytest.mark.parametrize("kind", ["stall", "reset", "cut short"])
def test_broken_connections(world: World, kind: str) -> None:
    with pytest.raises(BROKEN):
        spoiled(world, kind)


def test_a_short_length_looks_whole(world: World) -> None:
    answer = spoiled(world, "short length")
    assert answer.status_code == 206
    assert int(answer.headers["Content-Length"]) == len(answer.content) < 10_000
    assert BODY.startswith(answer.content)


def test_another_range_than_asked_for(world: World) -> None:
    answer = spoiled(world, "wrong range")
    assert answer.headers["Content-Range"].startswith("bytes 16-10015/")
    assert answer.content == BODY[16:10_016]


@pytest.mark.parametrize("kind", ["flipped bits", "zeroed run"])
def test_other_bytes_of_the_same_length(world: World, kind: str) -> None:
    answer = spoiled(world, kind)
    assert len(answer.content) == 10_000
    differ = sum(one != other for one, other in zip(answer.content, BODY[:10_000], strict=True))
    assert 0 < differ <= (8 if kind == "flipped bits" else 4096)


def test_a_token_that_expired_stays_so(world: World) -> None:
    proxy = FaultProxy(1.0, 1, ("expired token",))
    with running(proxy) as address:
        assert ask(world, address).status_code == 206  # nothing is signed
        assert ask(world, address, query="?sig=one").status_code == 403
        proxy.rate = 0.0
        assert ask(world, address, query="?sig=one").status_code == 403
        assert ask(world, address, query="?sig=two").status_code == 206
    assert proxy.done == {"expired token": 1}
    assert proxy.refused == 1


@pytest.mark.parametrize("kind", ["flipped bits", "zeroed run", "short length"])
def test_json_is_spoiled_only_so_that_a_reader_sees_it(world: World, kind: str) -> None:
    with running(FaultProxy(1.0, 1, (kind,))) as proxy:
        answer = requests.get(f"{world.url}/", proxies={"http": proxy}, timeout=30)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


def test_a_tenth_is_a_tenth_and_every_kind_has_its_turn(world: World) -> None:
    kinds = tuple(kind for kind in KINDS if kind not in {"stall", "expired token"})
    proxy = FaultProxy(0.1, 3, kinds)
    with running(proxy) as address:
        for _ in range(300):
            with contextlib.suppress(requests.RequestException):
                ask(world, address)
    assert 15 < proxy.done.total() < 50
    assert set(proxy.done) == set(kinds)


def test_a_host_is_found_elsewhere(world: World) -> None:
    here = world.url.removeprefix("http://")
    with running(FaultProxy(0.0, 1, hosts={"store.invalid": here})) as address:
        answer = requests.get("http://store.invalid/x.tif", proxies={"http": address}, timeout=30)
    assert answer.content == BODY


def test_tunnels_carry_bytes_and_are_reset(world: World) -> None:
    port = int(world.url.rpartition(":")[2])
    for rate, whole in ((0.0, True), (1.0, False)):
        with running(FaultProxy(rate, 1, ("reset",))) as address:
            place = ("127.0.0.1", int(address.rpartition(":")[2]))
            with socket.create_connection(place, timeout=30) as tunnel:
                tunnel.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
                assert tunnel.recv(100).startswith(b"HTTP/1.1 200")
                time.sleep(0.0 if whole else 0.2)
                said = b""
                with contextlib.suppress(ConnectionError):
                    tunnel.sendall(b"GET /x.tif HTTP/1.1\r\nHost: x\r\n\r\n")
                    said = tunnel.recv(100)
                assert said.startswith(b"HTTP/1.1 200") is whole


def said_through_a_tunnel(address: str, target: str, words: bytes) -> list[bytes]:
    """What a client reads after CONNECT, piece by piece, until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30) as tunnel:
        tunnel.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        said = [tunnel.recv(100)]
        with contextlib.suppress(ConnectionError):
            tunnel.sendall(words)
            tunnel.shutdown(socket.SHUT_WR)
            while piece := tunnel.recv(1 << 16):
                said.append(piece)
        return said


def test_a_stalled_tunnel_says_nothing(world: World) -> None:
    with running(FaultProxy(1.0, 1, ("stall",), stall_seconds=0.2)) as address:
        words = b"GET /x.tif HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        said = said_through_a_tunnel(address, world.url.removeprefix("http://"), words)
    assert said == [b"HTTP/1.1 200 Connection established\r\n\r\n"]


def test_the_end_of_one_side_is_told_to_the_other() -> None:
    """A server that answers once its client has said all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=count_bytes, args=(server,), daemon=True).start()
        with running(FaultProxy(0.0, 1)) as address:
            said = said_through_a_tunnel(address, f"127.0.0.1:{server.getsockname()[1]}", b"x" * 1000)
    assert b"".join(said[1:]) == b"1000"


def count_bytes(server: socket.socket) -> None:
    client, _ = server.accept()
    with client, client.makefile("rb") as read:
        client.sendall(str(len(read.read())).encode())


# The second is longer than a name may be, so that no name server need be asked.
@pytest.mark.parametrize("host", ["127.0.0.1", ".".join(["nowhere" * 8] * 5)])
def test_where_nobody_is_the_client_is_told_so_and_no_fault_is_counted(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = f"{host}:{gone.getsockname()[1]}"
    proxy = FaultProxy(1.0, 1, ("reset",))
    with running(proxy) as address:
        answer = requests.get(f"http://{target}/", proxies={"http": address}, timeout=30)
        assert answer.status_code == 502
        assert said_through_a_tunnel(address, target, b"")[0].startswith(b"HTTP/1.1 502 Bad Gateway")
    assert proxy.tally() == {"requests": 2, "faults": 0, "by_kind": {}, "refused": 0}


def test_an_answer_with_nothing_to_spoil_is_no_fault(world: World) -> None:
    proxy = FaultProxy(1.0, 1, ("flipped bits",))
    with running(proxy) as address:
        assert requests.head(f"{world.url}/x.tif", proxies={"http": address}, timeout=30).ok
        assert requests.get(f"{world.url}/empty", proxies={"http": address}, timeout=30).content == b""
        ask(world, address)
    assert proxy.tally() == {"requests": 3, "faults": 1, "by_kind": {"flipped bits": 1}, "refused": 0}


@pytest.mark.parametrize(
    "head",
    [b"hello", b"GET http://x/ HTTP/1.1\r\nContent-Length: some", b"GET /x HTTP/1.1", b"CONNECT : HTTP/1.1"],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with running(FaultProxy(0.0, 1)) as address:
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        with socket.create_connection(place, timeout=30) as client:
            client.sendall(head + b"\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--rate", "2"], "a rate of 0 to 1"),
        (["--host", "store.invalid"], "NAME=HOST:PORT says where NAME is, not 'store.invalid'"),
        (["--port", "70000"], "a port is a number from 0 to 65535, not '70000'"),
    ],
)
def test_the_command_says_what_is_wrong(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"rate": 2.0}, {"rate": 0.1, "kinds": ("fire",)}])
def test_what_is_no_rate_or_kind_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a rate of 0 to 1"):
        FaultProxy(**{"seed": 1, **wrong})  # type: ignore[arg-type]
