"""Rows stand on files from outside: another file in the place of one is told, a new one is welcome."""

from pathlib import Path

import pytest

from reference_model.baselines.covariates import NightLights
from reference_model.baselines.entry import Assets
from reference_model.reproduction.bench import ForeignRecordError
from reference_model.reproduction.outside_files import NOTED, note_files
from reference_model.reproduction.record import read_records


def test_other_night_lights_are_not_passed_off_as_those_measured(tmp_path: Path) -> None:
    first, second, weights = (tmp_path / name for name in ("2022.tif", "2023.tif", "w.safetensors"))
    for path in (first, second, weights):
        path.write_bytes(path.name.encode())
    records = tmp_path / "records"
    note_files(records, Assets())
    note_files(records, Assets(covariate=NightLights(first)))
    note_files(records, Assets(covariate=NightLights(first), weights={"clip": weights}))
    second_name_of_the_first = Path(f"{first}.copy")
    second_name_of_the_first.write_bytes(first.read_bytes())
    note_files(records, Assets(covariate=NightLights(second_name_of_the_first)))
    with pytest.raises(ForeignRecordError, match=r"measured with other night lights than .*2023\.tif"):
        note_files(records, Assets(covariate=NightLights(second)))
    weights.write_bytes(b"others")
    with pytest.raises(ForeignRecordError, match="other weights of clip"):
        note_files(records, Assets(weights={"clip": weights}))
    assert read_records(records) == ()


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    (tmp_path / NOTED).write_text("{}")
    with pytest.raises(ForeignRecordError, match="no longer tells"):
        note_files(tmp_path, Assets())
