"""nginx on the loopback for `benchmarks/imagery.py`, and a proxy in front of it that is 50 ms away."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format t '$request_method\\t$uri\\t$status\\t$bytes_sent\\t$connection';
    access_log {folder}/access.log t;
    sendfile on; tcp_nopush on; keepalive_requests 1000000; keepalive_timeout 300;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@dataclass(frozen=True)
class Servers:
    near: str
    far: str
    """The same files, 50 ms away."""
    log: Path


def log_mark(log: Path) -> int:
    """Where nginx's log ends now."""
    time.sleep(0.3)
    return log.stat().st_size


def log_since(log: Path, mark: int) -> tuple[int, float]:
    """Requests and MB since a mark."""
    time.sleep(0.3)
    with log.open() as lines:
        lines.seek(mark)
        sent = [int(line.split("\t")[3]) for line in lines]
    return len(sent), sum(sent) / 1e6


@contextmanager
def serving(root: Path, folder: Path, *, port: int = 18811, latency: float = 0.05) -> Iterator[Servers]:
    """Serve a folder until the block ends."""
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, root=root.resolve(), port=port))
    servers = Servers(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}", folder / "access.log")
    commands = [
        ["nginx", "-e", f"{folder}/error.log", "-c", str(conf)],
        [sys.executable, __file__, str(port + 1), str(port), str(latency)],
    ]
    processes = [subprocess.Popen(command) for command in commands]
    try:
        for url in (servers.near, servers.far):
            urllib3.request("HEAD", url, retries=urllib3.Retry(20, backoff_factor=0.05))
        yield servers
    finally:
        for process in processes:
            process.terminate()
            process.wait()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    """Pass bytes on; a request is a small piece of its own, so each is late by the latency."""
    try:
        while piece := await reader.read(1 << 20):
            if latency:
                await asyncio.sleep(latency)
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def delay(port: int, behind: int, latency: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", behind, limit=1 << 21)
        await asyncio.gather(pump(reader, back, latency), pump(there, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=1 << 21)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(delay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
