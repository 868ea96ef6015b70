"""The trials of one seed: every method at every cost leaves one record as soon as it is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reference_model.baselines.entry import Assets, Entry, MissingAssetError
from reference_model.face import Setting
from reference_model.job import Say
from reference_model.methods.dense import DENSE_ROWS
from reference_model.methods.ours import OURS
from reference_model.methods.registry import methods, outcomes
from reference_model.networks.published import ENCODERS
from reference_model.networks.published_files import LegacyCheckpointError, WeightsNotFoundError
from reference_model.reproduction.measure import Gallery, outcome
from reference_model.reproduction.provenance import provenance
from reference_model.reproduction.record import (
    MEASURED,
    NEEDS_DATA,
    NEEDS_WEIGHTS,
    Provenance,
    Record,
    RecordDamagedError,
    Status,
    read_record,
    write_record,
)
from reference_model.reproduction.trials import Trial
from reference_model.run import settings_of


class ForeignRecordError(ValueError):
    """A folder holds records of another run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the trials of one seed are made and kept."""

    setting: Setting
    records: Path
    origin: Provenance
    assets: Assets
    say: Say

    def origin_of(self, method: str) -> Provenance:
        """The origin of a row: whether its predictor has seen more scenes than the training ones."""
        pretrained = len(self.setting.job.roles.unlabelled) > 0 and method in {*OURS, *DENSE_ROWS}
        alone = not pretrained or method == "without-pretraining"
        return replace(self.origin, pretrain="none" if alone else "gl10m")


def bench_of(setting: Setting, records: Path, assets: Assets, say: Say) -> Bench:
    """The place where the trials of a setting are made."""
    job = setting.job
    origin = provenance(settings_of(job.run.folder), data_set=job.catalogue.digest(), device=job.team.device)
    return Bench(setting=setting, records=records, origin=origin, assets=assets, say=say)


def measure_all(bench: Bench, todo: Sequence[Trial]) -> None:
    """Measure what has no record yet.

    A method that is not in the registry is passed over: its rows are told as not run.
    """
    known = methods()
    groups: dict[str, list[Trial]] = {}
    for trial in todo:
        groups.setdefault(trial.method, []).append(trial)
    for number, (name, asked) in enumerate(groups.items()):
        if name not in known:
            continue
        left = [trial for trial in asked if not _is_done(bench, trial)]
        if left:
            costs = ", ".join(f"OBR {trial.target_obr:g}" for trial in left if trial.target_obr is not None)
            seed = bench.setting.job.seed
            bench.say(f"[{number + 1}/{len(groups)}] {name}{' at ' if costs else ''}{costs}, seed {seed}")
            for record in _records(bench, known[name], left):
                write_record(bench.records, record)


def _records(bench: Bench, entry: Entry, asked: Sequence[Trial]) -> list[Record]:
    budgets = [entry.paper_obr if trial.target_obr is None else trial.target_obr for trial in asked]
    try:
        found = list(outcomes(bench.setting, entry.name, budgets, assets=bench.assets))
    except WeightsNotFoundError as error:
        published = ENCODERS.get(entry.encoder or "")
        hub_id = str(error) if published is None else published.hub_id
        return [_missing(bench, trial, NEEDS_WEIGHTS, trial.weights or hub_id) for trial in asked]
    except LegacyCheckpointError as error:
        return [_missing(bench, trial, NEEDS_WEIGHTS, _told(trial.weights, error)) for trial in asked]
    except ModuleNotFoundError as error:
        return [_missing(bench, trial, NEEDS_WEIGHTS, _told(trial.weights, error)) for trial in asked]
    except MissingAssetError as error:
        return [_missing(bench, trial, NEEDS_DATA, trial.data or str(error)) for trial in asked]
    gallery = Gallery.of(bench.setting)
    records = []
    for trial, budget in zip(asked, budgets, strict=True):
        own = [one for one in found if one.target_obr == budget]
        measured = outcome(gallery, [one.scores for one in own], [one.selected for one in own])
        records.append(
            Record(
                method=trial.method,
                target_obr=trial.target_obr,
                seed=bench.setting.job.seed,
                status=MEASURED,
                rows=trial.rows,
                metrics=measured.metrics,
                per_class=measured.per_class,
                provenance=bench.origin_of(trial.method),
            )
        )
    return records


def _told(weights: str, error: Exception) -> str:
    """What a row waits for, where the error tells how it is got; rows of others name no weights."""
    return f"{weights}; {error}" if weights else str(error)


def _missing(bench: Bench, trial: Trial, status: Status, needs: str) -> Record:
    return Record(
        method=trial.method,
        target_obr=trial.target_obr,
        seed=bench.setting.job.seed,
        status=status,
        needs=needs,
        rows=trial.rows,
        provenance=bench.origin,
    )


def _is_done(bench: Bench, trial: Trial) -> bool:
    """Whether a trial has been measured; what waited for weights or data is tried again.

    Raises:
        ForeignRecordError: the record is of another run.
    """
    path = bench.records / f"{trial.key}.seed-{bench.setting.job.seed}.json"
    try:
        record = read_record(path)
    except FileNotFoundError:
        return False
    except RecordDamagedError:
        bench.say(f"{path} is damaged; it is measured again")
        return False
    if (record.provenance.settings, record.provenance.data_set) != (
        bench.origin.settings,
        bench.origin.data_set,
    ):
        raise ForeignRecordError(
            f"{path} is of another run: its settings or its data set differ. Choose another folder "
            "with --out, or delete this one."
        )
    return record.status == MEASURED
