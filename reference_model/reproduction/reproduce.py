"""One command from a data set to the tables and figures of the paper.

Every method at every cost leaves one record; a run that is cut off goes on behind the last. Tables, figures
and pages are made anew from the records and the weights, so that a run that was cut off ends as one that was
not.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reference_model.baselines.entry import Assets, Entry
from reference_model.job import Say
from reference_model.methods.registry import UnknownMethodError, methods
from reference_model.metrics.observation_cost import DEFAULT_OBR
from reference_model.networks.encoder import SMALL
from reference_model.networks.published_table import ENCODERS
from reference_model.reproduction import clock, zero_shot
from reference_model.reproduction.bench import Bench, bench_of, measure_all
from reference_model.reproduction.counts import counted
from reference_model.reproduction.opening import opened_setting
from reference_model.reproduction.other_rows import other_trials
from reference_model.reproduction.outside_files import note_files
from reference_model.reproduction.parts import Completion
from reference_model.reproduction.publish import TABLES, publish
from reference_model.reproduction.record import FOLDER, MEASURED, identity, read_record, write_record
from reference_model.reproduction.rows import completions_of
from reference_model.reproduction.trials import Trial, trials
from reference_model.run import Run
from reference_model.train import METRICS, Ground, Recipe, lost_files

SEEDS = "seeds"
"""Folder of the run folders, one a seed."""

OF_ONE_RUN = frozenset({"lr-only", "ours", "random", "full", "oracle-worth", "oracle-label"})
"""Rows that stand on the weights of `train-reference` alone."""

OUR_RECORD = identity("ours", DEFAULT_OBR)
"""Which EuroSAT and BigEarthNet belong to (Table 3)."""


class NoModelError(ValueError):
    """EuroSAT and BigEarthNet are recognised by a run that can be opened as a model, and this one cannot."""


class UnfinishedRunError(FileNotFoundError):
    """A run folder has no result yet, or has lost what it came from."""


class ManyProcessesError(RuntimeError):
    """Several processes were started for what one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What no data set of ours and no run folder holds. All of it may be absent."""

    assets: Assets = field(default_factory=Assets)
    folders: zero_shot.Folders = field(default_factory=zero_shot.Folders)


def reproduce(
    ground: Ground,
    out: Path,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    say: Say,
    outside: Outside | None = None,
    only: Sequence[str] | None = None,
) -> Path:
    """Train and measure every row of the paper that can be, write tables, figures, report and card.

    Args:
        ground: the data set.
        out: the folder of the results; what is finished there is not done again.
        recipe: sizes, encoder, device.
        seeds: of the trainings; the figures show the first.
        say: takes lines for the user.
        outside: weights and data that some rows need.
        only: names of methods; all that the paper's tables and figures ask for if None. Rows of the others
            are told as not run. One that no table asks for is measured at its own OBR and shown in a table of
            such rows.

    Returns:
        The report.

    Raises:
        UnknownMethodError: a name is no method.
        RunMismatchError: `out` holds a run of other settings or of another data set.
        ForeignRecordError: so do its records, or they are of other files from outside.
        TooFewScenesError: the data set is too small.
        NoEvaluableClassError: no class has a positive among the held-out scenes.
        NoModelError: other data sets are to be recognised with an encoder of another package.
        ManyProcessesError: torchrun has started several.
        OSError: `out` cannot be written.
    """
    beside = outside or Outside()
    _refuse_many_processes(out)
    check_methods(only)
    _check_recognition(beside.folders, recipe)
    note_files(out / FOLDER, beside.assets)
    todo = [trial for trial in trials() if only is None or trial.method in only]
    todo += other_trials(only or ())
    for number, seed in enumerate(seeds):
        say(f"seed {seed}: {number + 1} of {len(seeds)}")
        with opened_setting(ground, out / SEEDS / str(seed), recipe, seed, say) as setting:
            bench = bench_of(setting, out / FOLDER, beside.assets, say)
            measure_all(bench, todo)
            _recognise(bench, beside.folders, recipe)
    first = seeds[0]
    with opened_setting(ground, out / SEEDS / str(first), recipe, first, _silent) as setting:
        bench = bench_of(setting, out / FOLDER, beside.assets, say)
        completions = completions_of(setting, {trial.method for trial in todo})
        return _published(bench, ground, out, seeds=seeds, todo=todo, completions=completions)


def evaluate_run(
    ground: Ground,
    run: Path,
    out: Path,
    recipe: Recipe,
    seed: int,
    *,
    say: Say,
    outside: Outside | None = None,
) -> Path:
    """Make what `reproduce` makes from the weights of one finished run; nothing is trained.

    Args:
        ground: the data set of the run.
        run: its folder.
        out: the folder of the results.
        recipe: of the run.
        seed: of the run.
        say: takes lines for the user.
        outside: weights and data that some rows need.

    Returns:
        The report.

    Raises:
        UnfinishedRunError: the run has not been trained to its end.
        RunMismatchError: it was trained on another data set or by another version.
        NoModelError: as of `reproduce`.
        OSError: `out` cannot be written.
    """
    _refuse_many_processes(out)
    _check_recognition((outside or Outside()).folders, recipe)
    if not Run(run).has(METRICS):
        raise UnfinishedRunError(
            f"{run} is no finished run: it has no {METRICS}. Go on with `gl10m train-reference --out {run}`."
        )
    if lost := lost_files(Run(run), recipe.encoder.name):
        raise UnfinishedRunError(
            f"{run} has lost {', '.join(lost)}, and nothing is trained here. `gl10m train-reference --out "
            f"{run}` makes them anew."
        )
    beside, known = outside or Outside(), methods()
    note_files(out / FOLDER, beside.assets)
    todo = [trial for trial in trials() if trial.method in known and trained_already(known[trial.method])]
    with opened_setting(ground, run, recipe, seed, _silent) as setting:
        bench = bench_of(setting, out / FOLDER, beside.assets, say)
        measure_all(bench, todo)
        _recognise(bench, beside.folders, recipe)
        return _published(bench, ground, out, seeds=[seed], todo=todo, completions={})


def _refuse_many_processes(out: Path) -> None:
    """Refuse torchrun: rows, tables and figures are made by one process."""
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ManyProcessesError(
            f"rows are measured by one process; torchrun has started {processes}. Train each seed under "
            f"torchrun with `gl10m train-reference --out {out / SEEDS}/SEED`, and come back without it."
        )


def _check_recognition(folders: zero_shot.Folders, recipe: Recipe) -> None:
    """Refuse before the training what could not be done after it."""
    name = recipe.encoder.name
    if (folders.eurosat or folders.bigearthnet) and name not in {SMALL, *ENCODERS}:
        raise NoModelError(
            "EuroSAT and BigEarthNet are recognised by a run of the package's own encoders, "
            f"{', '.join((SMALL, *ENCODERS))}; this one has {name}. Leave --eurosat and --bigearthnet out."
        )


def check_methods(names: Sequence[str] | None) -> None:
    """Refuse names that are no method.

    Raises:
        UnknownMethodError: one is none.
    """
    known = methods()
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise UnknownMethodError(
            f"a method is one of {', '.join(sorted(known))}; asked for {', '.join(unknown)}"
        )


def trained_already(entry: Entry) -> bool:
    """Whether a row needs no weights beside those of a run of `train-reference`."""
    return entry.learned == "nothing" or entry.name in OF_ONE_RUN


def _recognise(bench: Bench, folders: zero_shot.Folders, recipe: Recipe) -> None:
    """Add EuroSAT and BigEarthNet to our record, where they are at hand and have not been measured."""
    path = bench.records / f"{OUR_RECORD}.seed-{bench.setting.job.seed}.json"
    if not path.exists():
        return
    record = read_record(path)
    wanted = folders.wanted(record)
    if wanted:
        bench.say(f"zero-shot recognition: {', '.join(wanted)}")
        opened = {metric: one for metric, one in folders.opened().items() if metric in wanted}
        folder, encoder = bench.setting.job.run.folder, recipe.encoder
        write_record(bench.records, zero_shot.joined(record, opened, folder, encoder.weights, encoder.texts))


def _published(
    bench: Bench,
    ground: Ground,
    out: Path,
    *,
    seeds: Sequence[int],
    todo: Sequence[Trial],
    completions: Mapping[str, Completion],
) -> Path:
    if ground.root is not None:
        for record in counted(ground.root, bench.origin):
            write_record(bench.records, record)
    _clock(bench, out / TABLES, todo)
    return publish(bench.setting, out, bench.origin, seeds, completions=completions, say=bench.say)


def _clock(bench: Bench, folder: Path, todo: Sequence[Trial]) -> None:
    """Measure the times that are not there yet; rows that wait for something have none."""
    known = methods()
    there = clock.read_times(folder)
    wanted = clock.timed_rows() - {one.key for one in there}
    asked = [trial for trial in todo if trial.key in wanted and _has_record(bench, trial)]
    if not asked:
        return
    bench.say(f"times of {len(asked)} rows")
    images = clock.image_times(bench.setting)
    for trial in asked:
        there.append(
            clock.times_of(
                bench.setting,
                known[trial.method],
                trial.target_obr,
                images=images,
                origin=bench.origin,
                assets=bench.assets,
            )
        )
    clock.write_times(folder, clock.in_order(there))


def _has_record(bench: Bench, trial: Trial) -> bool:
    path = bench.records / f"{trial.key}.seed-{bench.setting.job.seed}.json"
    return path.exists() and read_record(path).status == MEASURED


def _silent(line: str) -> None:
    """Say nothing."""
