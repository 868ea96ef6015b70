"""Who may write into a data set in a bucket: one holder at a time, and never one that is thought dead.

The lease stands in the register, so that it and the publication are one object: whoever takes it over changes
what a former holder's conditional put compares, and the former holder publishes nothing any more.
"""

import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from gl10m.storage import client, register
from gl10m.storage.client import ObjectChangedError, StorageError, Version
from gl10m.storage.register import Claim, Entry, Read, Register

LEASE_SECONDS: Final = 60.0
"""A holder that has not renewed for so long, by the store's clock, is taken to be dead."""

_ATTEMPTS = 8
_LOG = logging.getLogger("gl10m")


class LeaseHeldError(RuntimeError):
    """Somebody else is writing into the data set."""


class LeaseLostError(RuntimeError):
    """Somebody else took over while this process was thought to be dead."""


class UnsafeStoreError(RuntimeError):
    """A store that takes conditional puts for plain ones."""


class Lease:
    """The right to change one data set. Held while the block of `held` runs."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.token = token
        self._lock = threading.Lock()
        self._register = Register({})
        self._version: Version | None = None

    @property
    def files(self) -> Mapping[str, Entry]:
        """The files of the data set."""
        return self._register.files

    def acquire(self, seconds: float) -> None:
        """Take the lease.

        Raises:
            LeaseHeldError: somebody else holds it.
            UnsafeStoreError: the store does not do conditional puts.
            StorageError: the store refuses, or does not answer.
        """
        mine = Claim(self.token, f"{socket.gethostname()}, process {os.getpid()}", *_identity(), seconds, 0)
        for _ in range(_ATTEMPTS):
            found = register.read(self.address)
            if found is None:
                wanted = Register(register.present(self.address), mine)
            elif found.register.claim is None or _is_dead(self.address, found, found.register.claim):
                wanted = found.register.with_claim(mine)
            else:
                raise LeaseHeldError(_busy(self.address, found, found.register.claim))
            with contextlib.suppress(ObjectChangedError):
                self._version = register.write(self.address, wanted, found.version if found else None)
                self._register = wanted
                if found is None:
                    self._check_store()
                return
        raise LeaseHeldError(f"several builds are starting in {self.address} at once. Try again in a minute.")

    def renew(self) -> None:
        """Tell the others that this holder lives.

        Raises:
            LeaseLostError: somebody else took over.
            StorageError: the store refuses, or does not answer.
        """
        self._change(self._register.files)

    def commit(self, files: Mapping[str, Entry]) -> None:
        """Make the data set consist of these files, and of no other: readers see the old ones or these.

        Raises:
            LeaseLostError: somebody else took over; nothing is changed.
            StorageError: the store refuses, or does not answer.
        """
        self._change(files)

    def release(self) -> None:
        """Let others write.

        Raises:
            LeaseLostError: somebody else took over.
            StorageError: the store refuses, or does not answer; the lease then runs out by itself.
        """
        with self._lock:
            self._write(self._register.with_claim(None))

    def _change(self, files: Mapping[str, Entry]) -> None:
        with self._lock:
            claim = self._register.claim
            if claim is None:
                return
            self._write(Register(files, replace(claim, beat=claim.beat + 1)))

    def _write(self, wanted: Register) -> None:
        try:
            self._version = register.write(self.address, wanted, self._version)
        except ObjectChangedError:
            stands = register.read(self.address)
            by = stands.register.claim.holder if stands and stands.register.claim else "somebody else"
            raise LeaseLostError(
                f"{by} took {self.address} over because this process did not renew its lease in time. "
                "Nothing was published; what was fetched is kept. Run the same command again when nobody "
                "else builds there."
            ) from None
        self._register = wanted

    def _check_store(self) -> None:
        """A second put of what must not be there yet has to fail.

        Raises:
            UnsafeStoreError: it did not.
        """
        try:
            client.put_if(self.address, register.REGISTER, self._register.encode(), None)
        except ObjectChangedError:
            return
        client.delete(self.address, register.REGISTER)
        raise UnsafeStoreError(
            f"the store of {self.address} does not do conditional puts (If-None-Match), by which two builds "
            "are kept apart. Build into a folder and copy it there."
        )


@contextlib.contextmanager
def held(address: str, seconds: float = LEASE_SECONDS) -> Iterator[Lease]:
    """Hold the data set at an address; a thread renews the lease.

    Raises:
        LeaseHeldError: somebody else holds it.
        UnsafeStoreError: the store does not do conditional puts.
        StorageError: the store refuses, or does not answer.
    """
    lease = Lease(address, uuid.uuid4().hex[:12])
    lease.acquire(seconds)
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease, done, seconds / 3), name="lease", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        done.set()
        beating.join()
        try:
            lease.release()
        except (LeaseLostError, StorageError) as error:
            _LOG.warning("%s", error)


def refuse_if_held(address: str) -> None:
    """Look whether somebody else holds the data set at an address, as whoever wants to write would.

    Raises:
        LeaseHeldError: somebody does.
        StorageError: the store refuses, or does not answer.
    """
    found = register.read(address)
    claim = found.register.claim if found else None
    if found is not None and claim is not None and not _is_dead(address, found, claim):
        raise LeaseHeldError(_busy(address, found, claim))


def holder_of(address: str) -> str | None:
    """Who holds the data set at an address, and until when; None where nobody seems to.

    Raises:
        StorageError: the store refuses, or does not answer.
    """
    found = register.read(address)
    claim = found.register.claim if found else None
    if found is None or claim is None or _has_died(claim):
        return None
    until = found.found.modified + timedelta(seconds=claim.seconds)
    # Nothing depends on this answer; whoever wants to write asks the store's clock.
    return _words(found, claim) if datetime.now(until.tzinfo) < until else None


def _beat(lease: Lease, done: threading.Event, seconds: float) -> None:
    while not done.wait(seconds):
        try:
            lease.renew()
        except StorageError as error:
            _LOG.warning("the lease is not renewed: %s", error)
        except LeaseLostError:
            return  # the publication tells it


def _is_dead(address: str, found: Read, claim: Claim) -> bool:
    """Whether a holder is gone: by the store's clock, or because its process was one of this machine's."""
    if _has_died(claim):
        return True
    age: timedelta = _now(address) - found.found.modified
    return age.total_seconds() > claim.seconds


def _now(address: str) -> datetime:
    """The time by the store's clock: that of an object put for the purpose."""
    key = f".gl10m/clock-{uuid.uuid4().hex[:12]}"
    client.put(address, key, b"")
    try:
        found = client.describe(address, key)
    finally:
        client.delete(address, key)
    if found is None:
        raise StorageError(f"an object put into {address} cannot be found. Is the store consistent?")
    return found.modified


def _busy(address: str, found: Read, claim: Claim) -> str:
    return (
        f"another build is writing into {address}: {_words(found, claim)}. Wait for it, or give this build "
        "another place with --root."
    )


def _words(found: Read, claim: Claim) -> str:
    until = found.found.modified + timedelta(seconds=claim.seconds)
    return f"{claim.holder}, who holds it until {until:%Y-%m-%d %H:%M:%S} UTC and may renew"


def _identity() -> tuple[str, str]:
    """This machine's boot and process namespace, and this process; empty where they cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        return f"{boot} {namespace}", _process(os.getpid())
    except OSError:
        return "", ""


def _has_died(claim: Claim) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    machine, _ = _identity()
    if not machine or claim.machine != machine:
        return False
    number = claim.process.partition(" ")[0]
    try:
        return _process(int(number)) != claim.process
    except (OSError, ValueError):
        return True


def _process(number: int) -> str:
    """A process by its number and the moment it began; raises OSError where there is none."""
    told = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    fields = told.rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(number)
    return f"{number} {fields[19]}"
