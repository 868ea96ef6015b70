"""A real Slurm of one node on the loopback: munged, slurmctld, slurmd, all below one folder.

Needs root, since slurmd starts jobs as the users who sent them, and Debian's slurmctld, slurmd and munge.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MailProg=/bin/true
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} CoresPerSocket={cores} RealMemory={megabytes}
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if one can."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd must be started by root"


@contextlib.contextmanager
def running_slurm(folder: Path, megabytes: int = 16_000) -> Iterator[Path]:
    """Run Slurm while the block runs.

    Args:
        folder: of its own; below /tmp, since the path of a Unix socket may have 107 bytes.
        megabytes: memory that the node says it has.

    Yields:
        The configuration, for SLURM_CONF.
    """
    for name in ("state", "spool", "log"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    controller, daemon = _free_ports()
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            controller=controller,
            daemon=daemon,
            cores=os.cpu_count(),
            megabytes=megabytes,
        )
    )
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "key-file")]
    munge += [f"--{name}={folder}/munged.{name.partition('-')[0]}" for name in ("pid-file", "log-file")]
    munge.append(f"--seed-file={folder}/munged.seed")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_started("munged", "--foreground", "--force", *munge, log=folder / "log"))
        stack.enter_context(_started("slurmctld", "-D", "-f", str(configuration), log=folder / "log"))
        stack.enter_context(_started("slurmd", "-D", "-f", str(configuration), log=folder / "log"))
        _wait_until_idle(configuration)
        yield configuration


@contextlib.contextmanager
def _started(name: str, *arguments: str, log: Path) -> Iterator[None]:
    program = _program(name)
    assert program is not None
    with (log / f"{name}.log").open("wb") as said:
        process = subprocess.Popen([program, *arguments], stdout=said, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_idle(configuration: Path) -> None:
    until = time.monotonic() + 60
    ask = ["sinfo", "--noheader", "--format=%t"]
    while True:
        said = subprocess.run(
            ask,
            env={**os.environ, "SLURM_CONF": str(configuration)},
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout.strip() == "idle":
            return
        assert time.monotonic() < until, f"the node is not idle: {said.stdout}{said.stderr}"
        time.sleep(0.2)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
