"""Where numbers come from: software, commit, device, encoder, data set, settings."""

import functools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import gl10m
from gl10m.manifest.provenance import digest
from reference_model.reproduction.record import Provenance

UNKNOWN = "none"


def provenance(
    settings: Mapping[str, Any], *, data_set: str, device: torch.device, pretrain: str = "none"
) -> Provenance:
    """Collect it.

    Args:
        settings: of a run, as in its config.json; the seed is left out, so that all seeds have one origin.
        data_set: `Catalogue.digest` of the scenes.
        device: on which it runs.
        pretrain: "none" or "gl10m".
    """
    rest = {name: value for name, value in settings.items() if name != "seed"}
    return Provenance(
        software=f"gl10m {gl10m.__version__}",
        commit=commit(),
        device=device_in_words(device),
        encoder=str(settings["encoder"]),
        preset=str(settings["preset"]["name"]),
        data_set=data_set,
        pretrain=pretrain,
        settings=digest(rest),
    )


def device_in_words(device: torch.device) -> str:
    """Name of a GPU, or "cpu" with its instruction set: "cpu (AVX2)"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.backends.cpu.get_cpu_capability()})"


@functools.cache
def commit() -> str:
    """Short hash of the checkout that runs, "+" behind it where files differ; "none" outside of one."""
    here = Path(__file__).resolve().parent
    shown = _git(here, "rev-parse", "--short=12", "HEAD")
    # A wheel may lie inside of somebody's own checkout: only files that git knows as its own count.
    if not shown or not _git(here, "ls-files", Path(__file__).name):
        return UNKNOWN
    return shown + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(  # noqa: S603 - no shell, arguments of ours
            ["git", *arguments],  # noqa: S607 - git as the user has it
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
