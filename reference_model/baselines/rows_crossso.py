"""The rows that are the published model of the paper's authors (github.com/xzhacc/CrossSO)."""

from pathlib import Path

from reference_model.baselines.crossso_model import DINO
from reference_model.baselines.crossso_rows import TEXTS, AuthorsRow, ClasswiseRow
from reference_model.baselines.crossso_transfer import TransferRow
from reference_model.baselines.entry import Assets, Entry
from reference_model.face import Method, Setting
from reference_model.metrics.observation_cost import DEFAULT_OBR
from reference_model.networks.crossso_files import HUB_ID
from reference_model.networks.published_table import OPENAI_CLIP

MODEL, CLASSWISE, TRANSFER = "crossso", "crossso-classwise", "crossso-transfer"


def _folder(assets: Assets, name: str) -> Path | None:
    """Where the published files are: named for this row, or once for all three."""
    return assets.weights.get(name, assets.weights.get(MODEL))


def _sparse(name: str, row: type[AuthorsRow], stands_for: str, paper_obr: float) -> Entry:
    def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
        texts = assets.texts.get(name, assets.texts.get(MODEL))
        return row(setting, name, _folder(assets, name), assets.weights.get(DINO), texts)

    return Entry(
        name=name,
        stands_for=(stands_for,),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=paper_obr,
        learned="nothing",
        encoder=DINO,
        needs=f"{HUB_ID}; {TEXTS}",
        make=make,
    )


def _transfer(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
    return TransferRow(setting, TRANSFER, _folder(assets, TRANSFER), assets.texts.get(TRANSFER))


CROSSSO = (
    _sparse(MODEL, AuthorsRow, "Table 3: Ours, by the authors' weights", DEFAULT_OBR),
    _sparse(CLASSWISE, ClasswiseRow, "Table 1: Ours, by the authors' weights", DEFAULT_OBR),
    Entry(
        name=TRANSFER,
        stands_for=(),
        observes="LR",
        regime="zero-shot",
        paper_obr=0.0,
        learned="nothing",
        encoder="graft",
        needs=f"{HUB_ID}; the text tower of {OPENAI_CLIP}",
        make=_transfer,
    ),
)
