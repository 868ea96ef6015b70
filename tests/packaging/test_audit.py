"""`make audit` tells licences that bind from those that do not, and follows whatever comes along."""

import sys
from pathlib import Path

import pytest

from scripts.audit import STRONG, AuditError, canonical, licence_of, needed


@pytest.mark.parametrize(
    ("licence", "binds"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MPL-2.0", False),
        ("MIT", False),
    ],
)
def test_licences_that_bind(licence: str, binds: bool) -> None:  # noqa: FBT001 - a case of the table
    assert (STRONG.search(licence) is not None) is binds


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        ([{"license": {"id": "MIT"}}], "MIT"),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], "BSD License"),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "ISC"}}], "ISC, MIT"),
        ([], "not told"),
    ],
)
def test_what_a_component_says_of_its_licence(licences: list[dict[str, object]], said: str) -> None:
    assert licence_of({"name": "a-package", "licenses": licences}) == said


def install(site: Path, name: str, *requirements: str) -> None:
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "Provides-Extra: fast"]
    text = "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requirements)])
    (folder / "METADATA").write_text(f"{text}\n")


def test_what_comes_along_is_followed_through_the_extras_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "gl10m", "Some.Package[fast]>=1", 'left_out; extra == "fast"')
    install(tmp_path, "some_package", "plain", 'quick; extra == "fast"', 'other; extra == "slow"')
    install(tmp_path, "plain", "gl10m")
    install(tmp_path, "quick")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert needed(sys.executable) == {"gl10m", "some-package", "plain", "quick"}
    assert canonical("Some.Package") == canonical("some_package") == "some-package"


def test_a_tool_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "gl10m", "not-installed-anywhere")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        AuditError, match=r"exit status 1: not-installed-anywhere is needed and not installed"
    ):
        needed(sys.executable)
    with pytest.raises(AuditError, match=r"there is no .*; `make audit` installs what is needed"):
        needed(str(tmp_path / "python"))
