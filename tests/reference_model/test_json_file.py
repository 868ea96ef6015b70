"""Our files of JSON: the same object gives the same bytes, and what was not written so is no object."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_model.json_file import SEAL, JsonFileError, read_json, write_json
from reference_model.run import Run, RunDamagedError

SAID = {"threshold": 0.123, "obr": 0.1, "rows": {"ours": [1, 2.5, None, True]}, "names": ["Dam", "Küste"]}


@given(
    said=st.dictionaries(
        st.text().filter(lambda key: key != SEAL),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_what_was_written_is_read(said: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("said")
    write_json(folder / "one", said)
    write_json(folder / "two", dict(reversed(said.items())))
    assert read_json(folder / "one") == said
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


@settings(max_examples=200)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_an_error_or_the_same_object(
    place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "said.json"
    write_json(path, SAID)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert read_json(path) == SAID  # a blank became another blank


def test_an_object_that_another_wrote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    path.write_text(json.dumps(SAID))
    with pytest.raises(JsonFileError, match="has no `sha256`"):
        read_json(path)
    write_json(path, SAID)
    path.write_text(path.read_text().replace("0.123", "0.124"))
    with pytest.raises(JsonFileError, match="does not say what was written"):
        read_json(path)


def test_a_changed_threshold_of_a_run_is_told_with_what_to_do(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_json("calibration.json", SAID)
    path = tmp_path / "calibration.json"
    path.write_text(path.read_text().replace("0.123", "0.124"))
    with pytest.raises(
        RunDamagedError, match=r"calibration\.json is damaged.*Delete it and run the command again"
    ):
        run.read_json("calibration.json")
