"""The configuration: what the page says, what a file may say, and what it may not."""

from pathlib import Path

import pytest

from pipelines.config import BuildParameters, ConfigurationError, load, load_patience
from pipelines.sources.patience import Patience
from pipelines.stages.subsampling import SubsamplingParameters
from scripts.configuration_page import PAGE, page


def configured(tmp_path: Path, text: str) -> BuildParameters:
    (tmp_path / "build.toml").write_text(text)
    return load(tmp_path / "build.toml")


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.configuration_page"


def test_the_defaults_on_the_page_are_the_defaults(tmp_path: Path) -> None:
    toml = PAGE.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    assert configured(tmp_path, toml) == BuildParameters()
    assert load_patience(tmp_path / "build.toml") == Patience()


def test_how_the_network_is_asked_is_no_parameter_of_the_data(tmp_path: Path) -> None:
    asked = configured(tmp_path, "[network]\nattempts = 9\nrequests_per_second = 5\n")
    assert asked == BuildParameters()
    assert load_patience(tmp_path / "build.toml") == Patience(attempts=9, requests_per_second=5)
    assert load_patience(None) == Patience()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[network]\nattempts = 0\n", "attempts is a number above 0"),
        ("[network]\nattempts = 'many'\n", r"network\.attempts: .*got 'many'"),
        ("[network]\nretries = 3\n", r"no key retries in \[network\]; there are attempts, seconds"),
    ],
)
def test_impossible_patience_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "build.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_patience(tmp_path / "build.toml")


def test_a_target_in_place_of_the_rate(tmp_path: Path) -> None:
    asked = configured(tmp_path, "[subsampling]\ntarget = 500\n")
    assert asked.subsampling == SubsamplingParameters(target=500)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[subsampling]\nrate = 0.5\ntarget = 500\n", "either a rate or a target"),
        ("[subsampling]\ntargets = 500\n", r"no key targets in \[subsampling\]; there are rate, target"),
        ("[sampling]\n", r"no section \[sampling\]"),
        ("[subsampling]\ntarget = 'many'\n", r"subsampling\.target"),
        ("[subsampling\n", "is not TOML"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configured(tmp_path, text)
