"""The command: `python -m scripts.local_servers start|status|stop`."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from scripts.arguments import port
from scripts.local_servers import nginx
from scripts.local_servers.errors import MissingProgramError, ServerError, WorldError
from scripts.local_servers.ports import answers
from scripts.local_servers.running import stop
from scripts.local_servers.servers import LocalServers
from scripts.local_servers.signals import ENDING, undisturbed
from scripts.local_servers.state import State


def main() -> int:
    """Run one command; the exit status is 0 where it did what was asked."""
    arguments = _parser().parse_args()
    _end_on_signals()
    try:
        match arguments.command:
            case "start":
                return _start(arguments)
            case "stop":
                return _stop(arguments.run)
            case _:
                return _print_status(arguments.run)
    except (MissingProgramError, ServerError, WorldError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _start(arguments: argparse.Namespace) -> int:
    ports = {"stac_port": arguments.stac_port, "http_port": arguments.http_port}
    servers = LocalServers(arguments.world, arguments.run, **ports)
    try:
        servers.start()
        print(servers.stac_url, flush=True)
    except (SystemExit, OSError) as error:
        if servers.running:  # everything but the last line was done; nobody would know that they run
            servers.stop()
        if isinstance(error, SystemExit):
            print("Interrupted: what had begun was ended.", file=sys.stderr)
        raise
    for number in ENDING:  # what runs has been told: a signal that comes now is too late
        signal.signal(number, signal.SIG_IGN)
    return 0


def _stop(run: Path) -> int:
    state = State.read(run)
    if state is None:
        print(f"no servers in {run}")
    else:
        with undisturbed():
            stop(run, state)
    return 0


def _print_status(run: Path) -> int:
    state = State.read(run)
    if state is None:
        print(f"no servers in {run}")
        return 1
    for server in state.servers:
        print(f"{server.name:<9} process {server.pid:<8} {'runs' if server.running else 'does not run'}")
    up = {state.stac_url: answers(state.stac_url), state.http_url: answers(f"{state.http_url}{nginx.READY}")}
    for url, answered in up.items():
        print(f"{url} {'answers' if answered else 'does not answer'}")
    return 0 if all(up.values()) and all(server.running for server in state.servers) else 1


def _end_on_signals() -> None:
    """Have signals raise SystemExit, so that a start ends what it began; an ignored one stays ignored."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
        sys.exit(128 + number)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.local_servers",
        description="A STAC API and nginx over a world folder, on the loopback.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start all servers and print the URL of the STAC API")
    start.add_argument("--world", type=Path, required=True, help="folder that `gl10m world` has written")
    start.add_argument("--stac-port", type=port, default=0, help="0 (default): a free one")
    start.add_argument("--http-port", type=port, default=0, help="0 (default): a free one")
    stopping = commands.add_parser("stop", help="end all servers and remove their database; logs stay")
    status = commands.add_parser("status", help="say which servers run and answer")
    for command in (start, stopping, status):
        command.add_argument("--run", type=Path, required=True, help="folder for logs and servers.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
