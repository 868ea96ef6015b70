"""A sealed file is known by its bytes: any other byte, wherever it stands, is noticed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest import seal
from gl10m.manifest.seal import BLANK, SealError

CONTENT = b"rows " * 9 + BLANK.encode() + b" and the footer"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed") / "file"


@given(st.integers(0, 8 * len(CONTENT) - 1))
def test_any_flipped_bit_is_noticed(path: Path, bit: int) -> None:
    path.write_bytes(CONTENT)
    seal.seal(path)
    content = bytearray(path.read_bytes())
    assert seal.check_seal(path) == content[57:65].decode()
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(SealError):
        seal.check_seal(path)


@given(st.integers(0, len(CONTENT) - 1))
def test_so_is_a_cut(path: Path, length: int) -> None:
    path.write_bytes(CONTENT)
    seal.seal(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SealError):
        seal.check_seal(path)


def test_a_text_in_the_rows_that_looks_like_a_seal_is_none(path: Path) -> None:
    path.write_bytes(BLANK.encode() + CONTENT)
    seal.seal(path)
    assert path.read_bytes().startswith(BLANK.encode())
    seal.check_seal(path)


def test_a_file_without_a_place_for_it_is_told(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(SealError, match="no place"):
        seal.seal(path)
    with pytest.raises(SealError, match="does not carry"):
        seal.check_seal(path)


def test_sealing_again_changes_nothing(path: Path) -> None:
    path.write_bytes(CONTENT)
    seal.seal(path)
    once = path.read_bytes()
    seal.seal(path)
    assert path.read_bytes() == once
