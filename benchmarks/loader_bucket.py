"""A server process that answers range requests like a bucket, each after a fixed delay, and counts them."""

import asyncio
import contextlib
import json
import multiprocessing
import urllib.request
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket:
    """Answers GET, HEAD and ListObjectsV2 for the files of a folder as a bucket named `bench`."""

    def __init__(self, folder: Path, delay: float) -> None:
        files = (path for path in folder.rglob("*") if path.is_file())
        self.files = {str(path.relative_to(folder)): path.read_bytes() for path in files}
        self.delay = delay
        self.requests = self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split("\r\n", 1)[0].split(" ")
                if target == "/count":
                    self._send(writer, "200 OK", "", json.dumps([self.requests, self.sent]).encode())
                    self.requests = self.sent = 0
                    continue
                await asyncio.sleep(self.delay)
                self.requests += 1
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                self._answer(writer, method, urlsplit(target), headers.get("range"))
                await writer.drain()
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, method: str, target: object, span: str | None) -> None:
        key = unquote(target.path).removeprefix("/bench").lstrip("/")
        if not key:
            self._send(writer, "200 OK", "", self._listing(parse_qs(target.query)))
            return
        content = self.files.get(key)
        if content is None:
            self._send(writer, "404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>")
            return
        status, more = "200 OK", ""
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, len(content)) if first and last else len(content)
            start = int(first) if first else len(content) - int(last)
            status, more = "206 Partial Content", f"Content-Range: bytes {start}-{end - 1}/{len(content)}\r\n"
            content = content[start:end]
        self._send(writer, status, more, content, body=method == "GET")

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        found = [key for key in sorted(self.files) if key.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"1"</ETag><Size>{len(self.files[key])}</Size></Contents>'
            for key in found
        )
        return (
            f'<?xml version="1.0"?><ListBucketResult><Name>bench</Name><Prefix>{prefix}</Prefix>'
            f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()

    def _send(
        self, writer: asyncio.StreamWriter, status: str, more: str, content: bytes, *, body: bool = True
    ) -> None:
        head = f'HTTP/1.1 {status}\r\n{more}Content-Length: {len(content)}\r\nETag: "1"\r\n'
        head += "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n"
        writer.write(head.encode() + (content if body else b""))
        self.sent += len(content) if body else 0


def _run(folder: Path, delay: float, told: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(Bucket(folder, delay).serve, "127.0.0.1", 0, backlog=512)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def bucket(folder: Path, delay: float) -> Iterator[str]:
    """The address of such a server."""
    told, telling = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_run, args=(folder, delay, telling), daemon=True
    )
    server.start()
    try:
        yield f"http://127.0.0.1:{told.recv()}"
    finally:
        server.terminate()
        server.join()


def counted(address: str) -> tuple[int, int]:
    """Requests and body bytes since it was asked last."""
    requests, sent = json.load(urllib.request.urlopen(f"{address}/count"))  # noqa: S310 - our own server
    return requests, sent
