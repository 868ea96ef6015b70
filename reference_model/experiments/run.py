"""Runs a protocol: all seeds, all rows, then the report. What is done already is not repeated."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gl10m.manifest.parquet import check_target
from reference_model.experiments.figures import Gallery
from reference_model.experiments.gates import training_figures
from reference_model.experiments.ground import opened
from reference_model.experiments.orderings import SeedResult
from reference_model.experiments.protocol import Protocol
from reference_model.experiments.report import write_report
from reference_model.experiments.runs import ranked
from reference_model.experiments.sweep import threshold_sweep
from reference_model.face import Setting
from reference_model.job import Say
from reference_model.run import Run


def run_protocol(
    protocol: Protocol,
    out: Path,
    *,
    say: Say,
    seeds: Sequence[int] | None = None,
    report_to: Path | None = None,
) -> list[SeedResult]:
    """Run seeds that are not done and write the report of all that are.

    Args:
        protocol: the experiment.
        out: folder of the run folders, one a seed, and of the report.
        say: takes lines for the user.
        seeds: run these alone, of the protocol's; several processes can share the work so. All if None.
        report_to: folder of the report; `out` if None. It covers the seeds that are done, and says so while
            some are not.

    Returns:
        Results of the seeds that were asked for.

    Raises:
        ValueError: a seed is not the protocol's.
        RunMismatchError: a run folder holds another protocol.
        RunBusyError: another process is at work on a seed.
        NoFileTargetError: the report cannot be put there (an OSError).
    """
    wanted = protocol.seeds if seeds is None else tuple(seeds)
    if strangers := sorted(set(wanted) - set(protocol.seeds)):
        raise ValueError(
            f"the protocol {protocol.name} has the seeds {', '.join(map(str, protocol.seeds))}; asked for "
            f"{', '.join(map(str, strangers))}. Another seed is another experiment: write its own protocol."
        )
    check_target((report_to or out) / f"{protocol.name}.md")
    results = [run_seed(protocol, seed, out, say) for seed in wanted]
    finished = [one for one in protocol.seeds if (_folder(out, one) / _result(protocol)).exists()]
    write_report(protocol, [run_seed(protocol, seed, out, say) for seed in finished], report_to or out)
    say(f"report of {len(finished)} of {len(protocol.seeds)} seeds: {report_to or out}")
    return results


def run_seed(protocol: Protocol, seed: int, out: Path, say: Say) -> SeedResult:
    """Run one seed, or read its result back.

    Raises:
        RunDamagedError: its result is not what was written, or is of other rows.
    """
    folder = _folder(out, seed)
    if not (folder / _result(protocol)).exists():
        _run(protocol, seed, folder, say)
    kept = Run(folder)
    result, drawn = kept.read_json(_result(protocol)), kept.read_weights(_resampled(protocol))
    with kept.fitting(_result(protocol)):
        if missing := sorted(set(protocol.runs) - (result["runs"].keys() & drawn.keys())):
            raise ValueError(f"it lacks the runs {', '.join(missing)}")
        return SeedResult(
            seed=seed,
            runs=result["runs"],
            resampled={name: values.numpy() for name, values in drawn.items()},
            training=result["training"],
            sweep=result["sweep"],
        )


def _run(protocol: Protocol, seed: int, folder: Path, say: Say) -> None:
    started = time.process_time()

    def tell(line: str) -> None:
        say(f"seed {seed}, {time.process_time() - started:5.0f} CPU s: {line}")

    with opened(protocol, seed, folder, tell) as (setting, world):
        gallery = _gallery(setting)
        runs, drawn = {}, {}
        for name in protocol.runs:
            tell(name)
            made = ranked(setting, protocol, name)
            runs[name] = gallery.figures(made)
            drawn[name] = torch.from_numpy(gallery.resampled_base(made, protocol.resamples))
        training = {
            **training_figures(setting, world, protocol),
            "prevalence": gallery.prevalence(),
            "full-no-predictor": runs["full-no-predictor"]["base/mAP@100"],
        }
        sweep = threshold_sweep(setting, gallery, protocol.thresholds)
        kept = setting.job.run
        kept.write_weights(_resampled(protocol), drawn)
        kept.log(stage="all", cpu_seconds=round(time.process_time() - started, 1))
        kept.write_json(_result(protocol), {"runs": runs, "training": training, "sweep": sweep})


def _gallery(setting: Setting) -> Gallery:
    job = setting.job
    return Gallery(
        relevant=job.catalogue.labels[torch.from_numpy(job.roles.test)].numpy(),
        novel=job.catalogue.is_novel,
        seed=job.seed,
    )


def _result(protocol: Protocol) -> str:
    return f"{protocol.name}.json"


def _resampled(protocol: Protocol) -> str:
    return f"{protocol.name}-resampled.safetensors"


def _folder(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}"
