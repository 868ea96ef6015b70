"""The table of contents of a build: a TOML section for each stage, a dataclass behind each section.

The parameters themselves, their units and their defaults stand in the stages' own files.
"""

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from pipelines.stages.coverage import CoverageParameters
from pipelines.stages.footprints import FootprintParameters
from pipelines.stages.hr import HRParameters
from pipelines.stages.lr import LRParameters
from pipelines.stages.matching import MatchParameters
from pipelines.stages.subsampling import SubsamplingParameters


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


_ADAPTER = pydantic.TypeAdapter(BuildParameters)


def load(path: Path | None) -> BuildParameters:
    """The parameters of a build, from a TOML file where there is one.

    Args:
        path: a file such as

            [footprints]
            thinning_degrees = 0.024

            [matching]
            days_each_side = 30

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: the file is not TOML, or a key or a value is not one of a stage's.
    """
    if path is None:
        return BuildParameters()
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file at {path}. Check the path given with --config.")
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    _refuse_unknown(path, sections)
    try:
        return _ADAPTER.validate_python(sections)
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].lower()}, got {fault['input']!r}"
            for fault in error.errors()
        )
        raise ConfigurationError(f"{path}: {faults}") from error


def _refuse_unknown(path: Path, sections: dict[str, Any]) -> None:
    """Name the unknown key and those there are; pydantic would let it pass in a dataclass."""
    known = asdict(BuildParameters())
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
