"""Parts of the local servers that need neither nginx nor PostgreSQL: processes, ports, folders, refusals."""

import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local_servers import MissingProgramError, Server, ServerError, State, WorldError, nginx, stac
from scripts.local_servers.catalogue import collections
from scripts.local_servers.ports import answers, listening, url_of
from scripts.local_servers.postgres import new_folder
from scripts.local_servers.process import GATE, begin, release, until, withhold
from scripts.local_servers.signals import undisturbed
from scripts.local_servers.state import starting
from scripts.local_servers.tools import newest_postgres
from tests.loopback import served

ROOT = Path(__file__).parents[2]


@pytest.fixture
def touching(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A gated command that makes the file `done`."""
    command = [*GATE, "touch", str(tmp_path / "done")]
    with begin(
        command, log=tmp_path / "log", folder=tmp_path, environment={"PATH": os.environ["PATH"]}
    ) as child:
        yield child


def test_a_command_runs_once_it_is_let_through(touching: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert Server.of("touch", touching.pid).running
    assert not (tmp_path / "done").exists()
    release(touching)
    assert touching.wait(30) == 0
    assert (tmp_path / "done").exists()


def test_a_command_whose_gate_closes_never_runs(touching: subprocess.Popen[bytes], tmp_path: Path) -> None:
    withhold(touching)
    assert touching.wait(30) != 0
    assert not (tmp_path / "done").exists()


def test_a_command_never_runs_where_its_parent_is_killed_before(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from scripts.local_servers.process import GATE, begin\n"
        "folder = Path(sys.argv[1])\n"
        "child = begin([*GATE, 'touch', 'done'], log=folder / 'log', folder=folder, environment=os.environ)\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert until(lambda: not Path(f"/proc/{int(killed.stdout)}").exists(), 30)
    assert not (tmp_path / "done").exists()


def test_a_worker_that_outlives_its_master_is_ended(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "sleep 600 & sleep 600 & wait"]
    with begin(
        command, log=tmp_path / "log", folder=tmp_path, environment={"PATH": os.environ["PATH"]}
    ) as master:
        server = Server.of("master", master.pid)
        assert until(lambda: len(server.processes()) == 3, 30)
        master.kill()
        assert not server.ends_within(0.2)
        assert not server.running
        assert len(server.processes()) == 2
        assert server.end(signal.SIGTERM)
        assert server.processes() == []


def test_another_process_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "sleep 600"]
    with begin(
        command, log=tmp_path / "log", folder=tmp_path, environment={"PATH": os.environ["PATH"]}
    ) as other:
        this = Server.of("sleep", other.pid)
        earlier = Server("nginx", other.pid, this.started - 1)
        assert not earlier.running
        assert earlier.end(signal.SIGTERM)
        assert this.running
        assert this.end(signal.SIGTERM)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.local_servers.process.SECONDS_TO_STOP", 1.0)
    command = [
        sys.executable,
        "-c",
        "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
    ]
    with begin(command, log=tmp_path / "log", folder=tmp_path, environment={}) as deaf:
        assert until(lambda: (tmp_path / "log").read_text() == "deaf\n", 30)
        assert Server.of("deaf", deaf.pid).end(signal.SIGTERM)
        assert deaf.wait(30) == -signal.SIGKILL


def test_signals_wait_until_everything_has_ended() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - what comes first is the point
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("all of it")
        done.append("never")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_port_is_held_from_the_moment_it_is_chosen() -> None:
    with listening(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ServerError, match=rf"port {port} of 127\.0\.0\.1 is taken .* name another one, or 0"
        ):
            listening(port)
    with listening(port) as again:
        assert url_of(again) == f"http://127.0.0.1:{port}"


def test_whether_a_server_answers_is_asked_past_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with served(
        http.server.HTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(tmp_path)))
    ) as url:
        assert answers(url)
        assert answers(f"{url}/missing"), "a refusal is an answer"
    assert not answers(url)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_newest_postgresql_with_postgis_is_taken(tmp_path: Path) -> None:
    programs, shared = tmp_path / "lib", tmp_path / "share"
    with pytest.raises(MissingProgramError, match=r"PostgreSQL 15 or newer .*postgresql-postgis\)$"):
        newest_postgres(programs, shared)
    for old in ("9.6", "13"):
        write(programs / old / "bin/initdb")
    with pytest.raises(MissingProgramError, match=r"PostgreSQL 15 or newer .*; found 13, 9\.6\)$"):
        newest_postgres(programs, shared)
    for new in ("15", "17"):
        write(programs / new / "bin/initdb")
    with pytest.raises(MissingProgramError, match=r"PostGIS .*postgresql-17-postgis-3"):
        newest_postgres(programs, shared)
    write(shared / "15/extension/postgis.control")
    assert newest_postgres(programs, shared) == programs / "15/bin"


def test_a_temporary_folder_that_no_socket_may_lie_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + 84 * "d")
    with pytest.raises(ServerError, match=r"107 bytes at most; .* has 123\. Set TMPDIR"):
        new_folder()
    monkeypatch.setattr(tempfile, "tempdir", "/one,two")
    with pytest.raises(ServerError, match=r"/one,two/.* has one\. Set TMPDIR to a folder without"):
        new_folder()


def test_a_run_folder_is_for_one_start_at_a_time(tmp_path: Path) -> None:
    another = pytest.raises(ServerError, match=r"one start at a time .* Wait for it, or name another --run")
    with starting(tmp_path), another, starting(tmp_path):
        pass
    with starting(tmp_path):
        pass


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State("http://a", "http://b", "/var/gl10m-postgres-1", [Server("nginx", 1, 2)], ready=True)
    assert State.read(tmp_path) is None
    state.write(tmp_path)
    assert State.read(tmp_path) == state
    assert (tmp_path / "servers.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting"),
        ("[]", "cannot be interpreted"),
        ('{"servers": [{"name": "nginx"}]}', "missing 2 required"),
        (json.dumps({"stac_url": "", "http_url": "", "cluster": "/home", "servers": []}), "not '/home'"),
        (
            json.dumps({"stac_url": "", "http_url": "", "cluster": "gl10m-postgres-1", "servers": []}),
            "absolute",
        ),
    ],
)
def test_a_state_that_start_does_not_write_is_refused(tmp_path: Path, content: str, said: str) -> None:
    write(tmp_path / "servers.json", content)
    with pytest.raises(ServerError, match=rf"not what `start` writes: .*{said}.* End the servers by hand"):
        State.read(tmp_path)


def test_a_world_that_is_not_whole_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="gl10m world --out"):
        collections(tmp_path)
    write(tmp_path / "stac/naip/collection.json")
    with pytest.raises(WorldError, match=r"in items\.ndjson; .*stac/naip has not"):
        collections(tmp_path)
    write(tmp_path / "stac/naip/items.ndjson")
    assert collections(tmp_path) == [tmp_path / "stac/naip"]


@pytest.mark.parametrize("name", ["of $HOME", 'of "mine"', "of\\mine"])
def test_a_world_that_nginx_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / name / "stac/naip/collection.json")
    write(tmp_path / name / "stac/naip/items.ndjson")
    with pytest.raises(WorldError, match="nginx cannot serve a folder"):
        collections(tmp_path / name)


def test_logs_that_are_not_there_tell_nothing(tmp_path: Path) -> None:
    assert nginx.requests(tmp_path / "access.log") == []
    assert stac.searches(tmp_path / "stac.log") == 0


def test_the_command_refuses_what_is_no_port_and_stops_what_is_not_there(tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "scripts.local_servers", *arguments]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)

    refused = command("start", "--world", str(tmp_path), "--run", str(tmp_path), "--http-port", "70000")
    assert refused.returncode == 2
    assert "a port is a number from 0 to 65535, not '70000'" in refused.stderr
    stopped = command("stop", "--run", str(tmp_path / "run"))
    assert (stopped.returncode, stopped.stdout) == (0, f"no servers in {tmp_path / 'run'}\n")
