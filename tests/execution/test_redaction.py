"""Canaries: credentials that stand in errors and logs of workers and of the build, and are found nowhere."""

import logging
import os
import traceback
from pathlib import Path

import pytest

from pipelines.execution.cluster import cluster
from pipelines.execution.logbook import logbook
from pipelines.execution.redaction import Guarded, redact, scrubbed
from pipelines.execution.tasks import TaskFailure, run

SIGNED = "https://store.example/naip/quad.tif?sv=2021&se=2026-01-01&sig=CANARY%2Bsignature%3D"
BEARER = "CANARY.bearer.0123456789"
SECRET = "CANARYsecret/0123456789+abcdefghijklmno"  # noqa: S105 - a canary
"""As AWS_SECRET_ACCESS_KEY: it stands in texts without a name beside it, and has no shape of its own."""


class StubbornError(Exception):
    """As of many libraries: made of more than a text, and tells all of it."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        super().__init__(address, headers)
        self.address, self.headers = address, headers

    def __str__(self) -> str:
        return f"GET {self.address} with {self.headers}"


def sign(cause: Exception) -> int:
    raise PermissionError(f"signing with {os.environ['AWS_SECRET_ACCESS_KEY']} failed") from cause


def leak(number: int) -> int:
    """An error with a cause and a note, each with another canary; logged, and raised."""
    cause = StubbornError(SIGNED, {"Authorization": f"Bearer {BEARER}"})
    cause.add_note(f"asked {SIGNED}")
    try:
        return sign(cause)
    except PermissionError:
        logging.getLogger("gl10m").warning("task %d of %s", number, SIGNED, exc_info=True)
        raise


TOLD = {
    f"GET {SIGNED}": "GET https://store.example/naip/quad.tif",
    f"Authorization: Bearer {BEARER}": "Authorization: Bearer ***",
    "s3://KEY:hidden@bucket/x": "s3://***@bucket/x",
    "aws_secret_access_key=CANARY/abc": "aws_secret_access_key=***",
    "{'token': 'CANARY'}": "{'token': '***'}",
    '{"AccountKey": "CANARY=="}': '{"AccountKey": "***"}',
    "key id AKIACANARYCANARYCANA": "key id ***",
    "status 503 of https://store.example/a.tif": "status 503 of https://store.example/a.tif",
}


@pytest.mark.parametrize("text", TOLD)
def test_a_text_is_told_without_what_looks_like_a_credential(text: str) -> None:
    assert redact(text) == TOLD[text]


def test_an_error_without_a_credential_is_left_as_it_is() -> None:
    error = ValueError("tile 12 is black")
    assert scrubbed(error) is error


def test_credentials_leave_a_worker_in_no_error_log_or_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with logbook(tmp_path) as log, cluster(workers=1, scheduler=None) as client:
        ((_, failure),) = run(client, leak, [7])
        assert isinstance(failure, TaskFailure)
        assert isinstance(failure.cause, PermissionError)
        logging.getLogger("gl10m").warning("failed: %s", failure.cause, exc_info=failure.cause)
        logging.getLogger("gl10m").info("facts", extra={"facts": {"asked": [{"address": SIGNED}]}})
    told = "".join(traceback.format_exception(failure.cause))
    written = log.read_text(encoding="utf-8")
    said = "".join(capfd.readouterr())
    assert "signing with *** failed" in told
    assert "task 7 of https://store.example/naip/quad.tif" in written
    assert "StubbornError" in written  # the traceback is there, of the cause too
    assert "failed: signing with *** failed" in said
    for place in (told, written, said, *(path.read_text() for path in tmp_path.rglob("*") if path.is_file())):
        assert "CANARY" not in place
        assert SECRET not in place


def test_credentials_leave_the_build_itself_in_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    try:
        Guarded(leak)(1)
    except PermissionError as error:
        told = "".join(traceback.format_exception(error))
    assert "signing with *** failed" in told
    assert "CANARY" not in told
