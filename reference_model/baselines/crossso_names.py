"""What the paper's authors call the concepts: crossso_names.toml, typed."""

import functools
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

FILE = "crossso_names.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Prompts, and names by this package's name of a concept."""

    evaluation: str
    """The prompt of their evaluation; a pair of braces stands for the name."""

    transfer: str
    """The prompt of their transfer to EuroSAT and BigEarthNet."""

    says: Mapping[str, str]
    of_policy: Mapping[str, str]
    policy_prompts: Mapping[str, str]

    def said(self, name: str) -> str:
        """The concept as their prompts for GL-10M say it."""
        return self.says.get(name, name.lower())

    def in_policy(self, name: str, known: Collection[str]) -> str | None:
        """The concept among those that their policy knows; None where it is none of them."""
        found = self.of_policy.get(name, name.lower())
        return found if found in known else None

    def said_by_policy(self, concept: str) -> str:
        """A concept of their policy as its prompt says it."""
        return self.policy_prompts.get(concept, concept)


@functools.cache
def names() -> Names:
    """The table."""
    told: dict[str, Any] = tomllib.loads(
        files("reference_model.baselines").joinpath(FILE).read_text(encoding="utf-8")
    )
    concepts: dict[str, dict[str, str]] = told["concepts"]
    return Names(
        evaluation=told["prompts"]["evaluation"],
        transfer=told["prompts"]["transfer"],
        says={name: one["says"] for name, one in concepts.items() if "says" in one},
        of_policy={name: one["policy"] for name, one in concepts.items() if "policy" in one},
        policy_prompts=told["policy_prompts"],
    )
