"""All figures, each with its words: what `publish` draws and the report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reference_model.job import Say
from reference_model.reproduction.figures import (
    completions,
    curves,
    failures,
    hallucination,
    pca,
    sweep,
    worth_maps,
)
from reference_model.reproduction.page import FigureFiles
from reference_model.reproduction.parts import Completion, Parts
from reference_model.reproduction.record import Record
from reference_model.reproduction.rows import LR_FILLING, WITHOUT_PRETRAINING, ours

NOT_PRETRAINED = "The paper's third model, pretrained on GL-10M, needs data (scenes in the split pretrain)."
PRETRAINED = "Ours is pretrained on the scenes of the split pretrain."


def draw_figures(
    parts: Parts, told: Mapping[str, Completion], records: Sequence[Record], folder: Path, say: Say
) -> list[FigureFiles]:
    """Write all figures with their numbers.

    Args:
        parts: of the model of one seed.
        told: ways to complete a scene by name, ours among them, for Figures 5 and 7.
        records: of all rows and seeds, for Figure 4.
        folder: where the files go.
        say: takes lines for the user.

    Raises:
        OSError: a file cannot be written.
    """
    drawn = _drawn(parts, told, records, folder, say)
    pretrained = PRETRAINED if WITHOUT_PRETRAINING in told else NOT_PRETRAINED
    return _with_words(drawn, f"Seed {parts.setting.job.seed}.", pretrained)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Which pictures there are; those of the other figures are always there."""

    depths: bool
    budgets: bool
    hallucination: bool
    sheets: Sequence[str]
    """Of Figure 9."""


def _drawn(
    parts: Parts, told: Mapping[str, Completion], records: Sequence[Record], folder: Path, say: Say
) -> _Drawn:
    folder.mkdir(parents=True, exist_ok=True)
    basis = pca.Basis.fit(parts.full(pca.reference_rows(parts.setting.job.roles.train)).flatten(0, 2))
    basis.store(folder / pca.FILE)
    say("figure 3")
    worth_maps.draw_worth_maps(parts, folder)
    say("figure 4")
    scenes = len(parts.setting.job.roles.test)
    depths, budgets = (draw(records, folder, scenes) for draw in (curves.draw_depths, curves.draw_budgets))
    say("figure 5")
    completions.draw_completions(parts, basis, told, folder)
    say("figure 7")
    asked = {name: complete for name, complete in told.items() if name != LR_FILLING}
    hallucination.draw_hallucination(parts, asked, folder)
    method = ours(parts.setting)
    say("figure 8")
    sweep.draw_sweep(parts, method, basis, folder)
    say("figure 9")
    return _Drawn(
        depths=depths,
        budgets=budgets,
        hallucination=(folder / hallucination.PNG).exists(),
        sheets=failures.draw_failures(parts, method, folder),
    )


def _with_words(drawn: _Drawn, seed: str, pretrained: str) -> list[FigureFiles]:
    bands = "Base concepts. Bands are 95 % intervals, over seeds or over the scenes of one seed."
    return [
        _figure(
            "3. What the sampler learned",
            f"{seed} From the best scene by Spearman to the worst.",
            [worth_maps.PNG],
            [worth_maps.CSV],
        ),
        _figure("4a. Across retrieval depths", bands, [curves.A_PNG] * drawn.depths, [curves.A_CSV]),
        _figure("4b. Across observation budgets", bands, [curves.B_PNG] * drawn.budgets, [curves.B_CSV]),
        _figure(
            "5. The scene completed from the same tiles",
            f"{seed} One PCA basis and one scale of colours in all panels.",
            [completions.PNG],
            [completions.CSV],
        ),
        _figure(
            "7. Hallucination",
            f"{seed} Neighbours of completed tiles among training tiles: = shares a label with the true one, "
            f"x does not. {pretrained}",
            [hallucination.PNG] * drawn.hallucination,
            [hallucination.CSV],
        ),
        _figure(
            "8. From all HR to none",
            f"{seed} Colours as in Figure 5; cos is the centred cosine to H*.",
            [sweep.PNG],
            [sweep.CSV, sweep.TEST_CSV],
        ),
        _figure(
            "9. Failures, looked for by rule",
            f"{seed} At most {failures.SHEET} scenes a mode.",
            drawn.sheets,
            [failures.CSV, failures.RATES_CSV],
        ),
    ]


def _figure(title: str, about: str, pngs: Sequence[str], csvs: Sequence[str]) -> FigureFiles:
    number = title.partition(".")[0]
    return FigureFiles(
        anchor=f"figure-{number}",
        short=f"Fig. {number}",
        title=f"Figure {title}",
        about=about,
        pngs=tuple(pngs),
        csvs=tuple(csvs),
    )
