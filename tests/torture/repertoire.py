"""The commands that are killed, beside `gl10m build`: on what, and what holds of each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reference_model.feature_files import CHECKSUMS, DESCRIPTION
from reference_model.run import Run
from tests.store.small_scenes import build
from tests.torture import brief
from tests.torture.commands import Command

GL10M = ("-m", "gl10m")
BRIEF = ("-m", "tests.torture.brief")

ENDS = (
    *("config.json", "encoder.safetensors", "sampler.safetensors", "calibration.json"),
    *("predictor.safetensors", "model.safetensors", "metrics.json", "rows/*/scores.safetensors"),
    "features/*",
)
"""The files of a run folder by which stages are finished; what a stage writes before may be written again."""

STAGES_THAT_TRAIN = ("encoder", "sampler", "predictor", "head")

HOLDER = "names the process that held it last"

MOMENTS = "when each thing was done"

TIMES = "how long each row took, beside the results"


def commands(folder: Path) -> tuple[Command, ...]:
    """All that need no build, on one small data set.

    Args:
        folder: for the data set; nothing stands there yet.
    """
    given = folder / "given"
    build(given / "root", {"CA": "train", "WA": "test"}, CA=20, WA=6)
    return (split(given), *exports(given), train(given), reproduce(given))


def commands_on_builds(folder: Path, built: Path) -> tuple[Command, ...]:
    """Those that read the journal of a build.

    Args:
        folder: for copies; nothing stands there yet.
        built: folder of a finished build.
    """
    shutil.copytree(built, folder / "parts" / "part")
    shutil.copytree(built, folder / "damaged" / "root")
    for lost in ("index/CA.arrow", "manifests/candidates.parquet"):
        (folder / "damaged" / "root" / lost).unlink()
    return compact(folder / "parts"), repair(folder / "damaged")


def split(given: Path) -> Command:
    """The splits, and the card that tells of them."""
    return Command(
        name="gl10m split",
        arguments=(*GL10M, "split", "--root", "root", "--by", "random", "--seed", "3"),
        given=given,
        stages=(
            ("before the splits", ""),
            ("in the splits", "root/manifests/.tmp-*"),
            ("in the card", "root/*.md"),
            ("after the end", "root/DATA_LICENCES.md"),
        ),
    )


def exports(given: Path) -> Iterator[Command]:
    """Every kind of export."""
    for kind, files, more in (
        ("webdataset", "*.tar", ("--scenes-a-file", "1")),
        ("huggingface", "data/*.parquet", ("--scenes-a-file", "1")),
        ("stac", "items/*/*.json", ()),
    ):
        yield Command(
            name=f"gl10m export {kind}",
            arguments=(*GL10M, "export", kind, "--root", "root", "--out", "out", *more),
            given=given,
            stages=(
                ("before the folder", ""),
                ("in the record", "out.partial"),
                ("in the files", f"out.partial/{files}"),
                ("in the card", "out.partial/*.md"),
                ("after the end", "out"),
            ),
            kept=("out*/**/[!.]*",),
        )
    yield Command(
        name="gl10m export croissant",
        arguments=(*GL10M, "export", "croissant", "--root", "root"),
        given=given,
        stages=(
            ("before the file", ""),
            ("in the file", "root/.tmp-*"),
            ("after the end", "root/croissant.json"),
        ),
    )


def compact(given: Path) -> Command:
    """A data set put together anew."""
    return Command(
        name="gl10m compact",
        arguments=(*GL10M, "compact", "--root", "root", "part"),
        given=given,
        stages=(
            ("before the shards", ""),
            ("in the shards", "root/.gl10m/staging"),
            ("in the publication", "root/.gl10m/commit.txt"),
            ("after the end", "root/.gl10m/receipts.parquet"),
        ),
        differs={"*/.gl10m/lock": HOLDER},
    )


def repair(given: Path) -> Command:
    """An index and a manifest made anew."""
    return Command(
        name="gl10m repair",
        arguments=(*GL10M, "repair", "--root", "root"),
        given=given,
        stages=(
            ("before the index", ""),
            ("in the index", "root/.gl10m/staging"),
            ("in the manifests", "root/index/CA.arrow"),
            ("after the end", "root/manifests/candidates.parquet"),
        ),
        kept=("root/data/*", "root/index/*"),
        differs={"*/.gl10m/lock": HOLDER, "*/.gl10m/log.jsonl": MOMENTS},
    )


def train(given: Path) -> Command:
    """A training of seconds: encoder, feature cache, sampler, predictor, head."""
    return Command(
        name="gl10m train-reference",
        arguments=(*BRIEF, "train-reference", "--root", "root", "--out", "run", "--device", "cpu"),
        given=given,
        stages=(
            ("before the run", ""),
            ("in the encoder", "run/config.json"),
            ("in the features", "run/encoder.safetensors"),
            ("in the sampler", "run/features"),
            ("in the predictor", "run/calibration.json"),
            ("in the head", "run/predictor.safetensors"),
            ("in the evaluation", "run/model.safetensors"),
            ("after the end", "run/metrics.json"),
        ),
        kept=tuple(f"run/{name}" for name in ENDS),
        unsaid=lambda work: done(work / "run"),
    )


def reproduce(given: Path) -> Command:
    """Two rows of the tables, all figures, the report."""
    return Command(
        name="gl10m reproduce",
        arguments=(
            *(*BRIEF, "reproduce", "--root", "root", "--out", "out", "--device", "cpu"),
            *("--only", "lr-only,ours"),
        ),
        given=given,
        stages=(
            ("before the run", ""),
            ("in the encoder", "out/seeds/0/config.json"),
            ("in the features", "out/seeds/0/encoder.safetensors"),
            ("in the rows", "out/seeds/0/features"),
            ("in the tables", "out/tables"),
            ("in the figures", "out/figures"),
            ("in the report", "out/MODEL_CARD.md"),
            ("after the end", "out/report.html"),
        ),
        kept=(
            *(f"out/seeds/0/{name}" for name in ENDS),
            *("out/records/ours*", "out/records/lr-only*"),  # the others are counted from the manifests
        ),
        differs={"out/tables/times.*": TIMES},
        unsaid=lambda work: done(work / "out" / "seeds" / "0"),
    )


def done(run: Path) -> set[str]:
    """What an unfinished run folder holds already: the lines that `brief` printed of it."""
    return {*_encoded(run), *_stepped(run)}


def _encoded(run: Path) -> Iterator[str]:
    """Of every scene whose features are kept."""
    for folder in (run / ".tmp-features", run / "features"):
        if (folder / DESCRIPTION).exists():
            kept = np.load(folder / f"{CHECKSUMS}.npy")
            yield from (brief.encoding(int(scene)) for scene in np.flatnonzero(kept))


def _stepped(run: Path) -> Iterator[str]:
    """Of every step of a stage that is finished, or lies behind its checkpoint."""
    for stage in STAGES_THAT_TRAIN:
        kept = Run(run).read_checkpoint(stage)
        if kept is not None:
            yield from (brief.step(stage, step) for step in range(kept["step"]))
