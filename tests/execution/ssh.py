"""A real sshd on the loopback that lets this user in, and an `ssh` that finds it under any name."""

import contextlib
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.execution.recipes import started, wait_until


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[Path]:
    """Run sshd while the block runs.

    Yields:
        A folder for the front of PATH. Its `ssh` is the system's with a configuration in which every host is
        this one.
    """
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = folder / "sshd.conf"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nUsePAM no\nPermitRootLogin prohibit-password\n"
    )
    client = folder / "ssh.conf"
    client.write_text(
        f"Host *\nHostName 127.0.0.1\nPort {port}\nUser {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"IdentityFile {folder}/user\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
        "LogLevel ERROR\n"
    )
    wrapped = folder / "bin"
    wrapped.mkdir()
    (wrapped / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {client} "$@"\n')
    (wrapped / "ssh").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's folder for privilege separation
    with started(["/usr/sbin/sshd", "-D", "-e", "-f", server], folder, dict(os.environ), "sshd"):
        wait_until(lambda: _listens(port), 30)
        yield wrapped


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
