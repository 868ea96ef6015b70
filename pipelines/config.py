"""The table of contents of a build: a TOML section for each stage, a dataclass behind each section.

The parameters themselves, their units and their defaults stand in the stages' own files.
"""

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from pipelines.sources.patience import Patience
from pipelines.stages.coverage import CoverageParameters
from pipelines.stages.footprints import PRESETS, FootprintParameters
from pipelines.stages.hr import HRParameters
from pipelines.stages.lr import LRParameters
from pipelines.stages.matching import MatchParameters
from pipelines.stages.subsampling import SubsamplingParameters

_Parameters = TypeVar("_Parameters")


class ConfigurationError(ValueError):
    """A configuration file is not TOML, names an unknown key, or holds a value of the wrong kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildParameters:
    """Everything that decides which rows and pixels a data set holds; the defaults are the paper's."""

    footprints: FootprintParameters = field(default_factory=FootprintParameters)
    coverage: CoverageParameters = field(default_factory=CoverageParameters)
    subsampling: SubsamplingParameters = field(default_factory=SubsamplingParameters)
    matching: MatchParameters = field(default_factory=MatchParameters)
    lr: LRParameters = field(default_factory=LRParameters)
    hr: HRParameters = field(default_factory=HRParameters)

    @property
    def searched_cloud_percent(self) -> float:
        """Reported cloud from which on no stage looks at a Sentinel-2 item."""
        return max(self.matching.searched_cloud_percent, self.coverage.most_cloud_percent)

    def record(self) -> dict[str, Any]:
        """The resolved parameters as plain values, for keys and provenance."""
        return asdict(self)


NETWORK = "network"
"""The section that decides how the network is asked, and nothing of what a data set holds."""

_ADAPTER = pydantic.TypeAdapter(BuildParameters)
_PATIENCE = pydantic.TypeAdapter(Patience)


def load(path: Path | None) -> BuildParameters:
    """The parameters of a build, from a TOML file where there is one.

    Args:
        path: a file such as

            [footprints]
            preset = "sar"
            thinning_degrees = 0.024

            [matching]
            days_each_side = 30

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: the file is not TOML, or a key or a value is not one of a stage's.
    """
    sections = _sections(path)
    sections.pop(NETWORK, None)
    return _validated(_ADAPTER, sections, path, ())


def recorded(values: Any) -> BuildParameters:  # noqa: ANN401 - what a manifest's metadata hold
    """The parameters that `BuildParameters.record` wrote down.

    Raises:
        ValueError: they are none.
    """
    return _ADAPTER.validate_python(values)


def load_patience(path: Path | None) -> Patience:
    """How the network is asked: the section [network] of the same file.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: as of `load`.
    """
    return _validated(_PATIENCE, _sections(path).get(NETWORK, {}), path, (NETWORK,))


def _sections(path: Path | None) -> dict[str, Any]:
    """What a file says, its names checked."""
    if path is None:
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file at {path}. Check the path given with --config.")
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{path} is no configuration: its values are nested without end") from None
    sections = _with_preset(path, sections)
    _refuse_unknown(path, sections)
    return sections


def _validated(
    adapter: pydantic.TypeAdapter[_Parameters],
    said: dict[str, Any],
    path: Path | None,
    place: tuple[str, ...],
) -> _Parameters:
    try:
        return adapter.validate_python(said)
    except pydantic.ValidationError as error:
        faults = "; ".join(_in_words(place, fault) for fault in error.errors())
        raise ConfigurationError(f"{path}: {faults}") from error


def _in_words(section: tuple[str, ...], fault: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """One fault: the key, the rule and what was found."""
    place = ".".join(str(part) for part in (*section, *fault["loc"]))
    if fault["type"] == "value_error":  # said by a stage's parameters, with what was found
        return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    return f"{place}: {fault['msg'].lower()}, got {fault['input']!r}"


def _with_preset(path: Path, sections: dict[str, Any]) -> dict[str, Any]:
    """The sections, with the numbers of a preset under those that the file names itself.

    Raises:
        ConfigurationError: there is no such preset.
    """
    written = sections.get("footprints")
    if not isinstance(written, dict) or "preset" not in written:
        return sections
    own = {key: value for key, value in written.items() if key != "preset"}
    preset = PRESETS.get(written["preset"]) if isinstance(written["preset"], str) else None
    if preset is None:
        raise ConfigurationError(
            f"{path}: no preset {written['preset']!r} in [footprints]; there are {', '.join(PRESETS)}"
        )
    return {**sections, "footprints": {**asdict(preset), **own}}


def _refuse_unknown(path: Path, sections: dict[str, Any]) -> None:
    """Name the unknown key and those there are; pydantic would let it pass in a dataclass."""
    known = {**asdict(BuildParameters()), NETWORK: asdict(Patience())}
    for section, values in sections.items():
        if section not in known:
            raise ConfigurationError(f"{path}: no section [{section}]; there are {', '.join(known)}")
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path}: [{section}] is a section of keys; got {section} = {values!r}")
        for key in values:
            if key not in known[section]:
                raise ConfigurationError(
                    f"{path}: no key {key} in [{section}]; there are {', '.join(known[section])}"
                )
