"""The command: `python -m scripts.fault_proxy`."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence

import scripts.fault_proxy
from scripts.arguments import port
from scripts.fault_proxy import KINDS, FaultProxy
from scripts.fault_proxy.head import place
from scripts.fault_proxy.proxy import HOST


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proxy until it is told to end; then print what it did."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    kinds = tuple(asked.kind or KINDS)
    try:
        proxy = FaultProxy(asked.rate, asked.seed, kinds, asked.stall, dict(asked.host), asked.ahead)
        asyncio.run(_run(proxy, asked.port))
    except (ValueError, OverflowError, OSError) as error:
        parser.error(str(error))
    return 0


async def _run(proxy: FaultProxy, port: int) -> None:
    server = await proxy.start(port)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()
    print(json.dumps(proxy.tally()), flush=True)


def _elsewhere(text: str) -> tuple[str, str]:
    name, _, where = text.partition("=")
    try:
        place(where, 80)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"NAME=HOST:PORT says where NAME is, not {text!r}: {error}"
        ) from error
    return name, where


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.fault_proxy",
        description=scripts.fault_proxy.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=0.1, help="share of requests that are spoiled")
    parser.add_argument("--seed", type=int, default=0, help="decides which, and how")
    parser.add_argument("--port", type=port, default=0, help="on 127.0.0.1; a free one if not given")
    parser.add_argument("--stall", type=float, default=5.0, help="seconds that a stalled answer keeps silent")
    parser.add_argument(
        "--kind", action="append", choices=KINDS, help="only this kind; may be given several times"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        type=_elsewhere,
        metavar="NAME=HOST:PORT",
        help="where NAME is; may be given several times",
    )
    parser.add_argument(
        "--ahead", type=float, default=0.0, help="seconds by which its clock is ahead of ours"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
