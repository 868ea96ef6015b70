"""A connection that is carried through unread, as TLS is: handed on, held up or cut."""

import asyncio
import contextlib
import socket
import struct

SECONDS_TO_RESET = 0.05
"""How long a tunnel that is reset works before."""


async def carry(
    here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    *,
    at_most: float | None = None,
) -> None:
    """Bytes to and fro until both sides have said all.

    Args:
        here: the client's end.
        there: the server's end.
        at_most: seconds; None for as long as it takes.
    """
    both = asyncio.gather(_pump(here[0], there[1]), _pump(there[0], here[1]), return_exceptions=True)
    try:
        await asyncio.wait_for(both, at_most)
    except TimeoutError:
        return


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Hand on what comes, then that no more will: else each side would wait for the other's end."""
    with contextlib.suppress(OSError):
        while content := await source.read(1 << 16):
            sink.write(content)
            await sink.drain()
    sink.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST in place of FIN."""
    own: socket.socket | None = writer.get_extra_info("socket")
    if own is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
