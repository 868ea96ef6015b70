"""The rows of Table 1 on the setting's encoder."""

from reference_model.baselines.disagreement import DisagreementPlanner
from reference_model.baselines.distillation import Distilled
from reference_model.baselines.entry import Assets, Entry
from reference_model.baselines.outside import ANSWERS, LIGHTS, SPARSE_OBR, answers_of, covariate_of
from reference_model.baselines.planners import CovariatePlanner, RandomPlanner
from reference_model.baselines.sar import BothScales, OnlyHR, Sparse
from reference_model.baselines.tile_scores import best_tile, mean_of_best_tiles, mean_of_tiles
from reference_model.face import Method, Setting
from reference_model.metrics.observation_cost import DEFAULT_OBR

SCALE = "scale of each class by average precision on the training scenes"


def _by_answers(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
    return BothScales(setting, "sar-lr-hr-llm", answers_of(assets))


def _random(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
    return Sparse(setting, "random-tiles", RandomPlanner(setting, draw))


def _night_lights(setting: Setting, assets: Assets, draw: int) -> Method:
    return Sparse(setting, "sar-night-lights", CovariatePlanner(setting, covariate_of(assets), draw))


def _disagreement(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
    return Sparse(setting, "sar-sparse", DisagreementPlanner(setting), with_student=True)


ZERO_SHOT = (
    Entry(
        name="sar-hr",
        stands_for=("Table 1: SAR (Only HR)",),
        observes="HR",
        regime="zero-shot",
        paper_obr=1.0,
        learned="nothing",
        make=lambda setting, _, __: OnlyHR(setting, "sar-hr", mean_of_tiles),
    ),
    Entry(
        name="sar-hr-max",
        stands_for=(),
        observes="HR",
        regime="zero-shot",
        paper_obr=1.0,
        learned="nothing",
        make=lambda setting, _, __: OnlyHR(setting, "sar-hr-max", best_tile),
    ),
    Entry(
        name="sar-hr-top5",
        stands_for=(),
        observes="HR",
        regime="zero-shot",
        paper_obr=1.0,
        learned="nothing",
        make=lambda setting, _, __: OnlyHR(setting, "sar-hr-top5", mean_of_best_tiles),
    ),
    Entry(
        name="sar-lr-hr",
        stands_for=("Table 1: SAR (LR+HR, LLM), scale chosen by rule",),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=1.0,
        learned=SCALE,
        make=lambda setting, _, __: BothScales(setting, "sar-lr-hr"),
    ),
    Entry(
        name="sar-lr-hr-llm",
        stands_for=("Table 1: SAR (LR+HR, LLM)",),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=1.0,
        learned="nothing",
        needs=ANSWERS,
        make=_by_answers,
    ),
    Entry(
        name="sar-kd",
        stands_for=("Table 1: SAR (KD)",),
        observes="LR",
        regime="zero-shot",
        paper_obr=0.0,
        learned="an LR student of the mean HR embedding",
        make=lambda setting, _, __: Distilled(setting, "sar-kd"),
    ),
    Entry(
        name="sar-sparse",
        stands_for=("Table 1: SAR",),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=SPARSE_OBR,
        learned=f"the student of sar-kd; {SCALE}",
        make=_disagreement,
    ),
    Entry(
        name="sar-night-lights",
        stands_for=("Table 1: SAR (LR + nl. sampling)",),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=SPARSE_OBR,
        learned=SCALE,
        needs=LIGHTS,
        draws=5,
        make=_night_lights,
    ),
    Entry(
        name="random-tiles",
        stands_for=("Figure 4(b): random sampling",),
        observes="LR + HR",
        regime="zero-shot",
        paper_obr=DEFAULT_OBR,
        learned=SCALE,
        draws=5,
        make=_random,
    ),
)
