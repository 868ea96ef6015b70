"""What once got through is refused in words, or read as whole."""

from pathlib import Path

import pytest

from tests.fuzz.corpus import troublemakers
from tests.fuzz.subject import SUBJECTS, subject_named

KEPT = (
    "items:StacPages",
    "items:ItemTables",
    "earth_engine:Listings",
    "earth_engine:Pixels",
    "rasters:Windows",
    "settings:ClassMaps",
    "settings:Configurations",
    "tables:SplitFiles",
    "tables:OrderFiles",
    "data_sets:Manifests",
    "data_sets:Registers",
    "journals:Records",
    "run_folders:RunFolders",
    "run_folders:FeatureCaches",
    "texts:TextTowers",
)


def test_every_subject_with_troublemakers_is_one_that_is_fuzzed() -> None:
    assert set(KEPT) <= set(SUBJECTS)


@pytest.mark.parametrize("place", KEPT)
def test_troublemakers_are_refused(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if place.startswith("texts"):
        pytest.importorskip("transformers", reason="text towers come with the extra `hub`")
    subject = subject_named(place)
    subject.prepare(tmp_path)
    request.addfinalizer(getattr(subject, "close", lambda: None))
    found = list(troublemakers(place, subject))
    assert found
    for what, spoiled in found:
        if spoiled.name == "log.jsonl":  # passed over: a log decides nothing
            subject.read(spoiled)
            continue
        with pytest.raises(subject.errors) as caught:
            subject.read(spoiled)
        assert type(caught.value).__module__.startswith(("gl10m", "pipelines", "reference_model")), what
