"""The rows of Table 2 on the setting's encoder."""

from reference_model.baselines.disagreement import DisagreementPlanner
from reference_model.baselines.entry import Assets, Entry
from reference_model.baselines.outside import ANSWERS, LIGHTS, SPARSE_OBR, answers_of, covariate_of
from reference_model.baselines.patchdrop import PatchDrop
from reference_model.baselines.planners import CovariatePlanner
from reference_model.baselines.supervised import SupervisedBoth, SupervisedHR, SupervisedLR
from reference_model.face import Method, Setting

PATCHDROP_OBR = 0.269
"""What PatchDrop buys (Table 2)."""

HEAD = "a linear head"
TWO_HEADS = "a linear head a scale; the scale of each class on validation scenes"


def _supervised_by_answers(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
    return SupervisedBoth(setting, "sar-llm-supervised", None, answers_of(assets))


def _supervised_night_lights(setting: Setting, assets: Assets, draw: int) -> Method:
    planner = CovariatePlanner(setting, covariate_of(assets), draw)
    return SupervisedBoth(setting, "night-lights-supervised", planner)


def _supervised_disagreement(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
    return SupervisedBoth(setting, "sar-supervised", DisagreementPlanner(setting))


SUPERVISED = (
    Entry(
        name="sar-hr-supervised",
        stands_for=("Table 2: SAR (HR)",),
        observes="HR",
        regime="supervised",
        paper_obr=1.0,
        learned=HEAD,
        make=lambda setting, _, __: SupervisedHR(setting, "sar-hr-supervised"),
    ),
    Entry(
        name="sar-llm-supervised",
        stands_for=("Table 2: SAR (LR+LLM)",),
        observes="LR + HR",
        regime="supervised",
        paper_obr=1.0,
        learned="a linear head a scale",
        needs=ANSWERS,
        make=_supervised_by_answers,
    ),
    Entry(
        name="sar-lr-hr-supervised",
        stands_for=("Table 2: SAR (LR+LLM), scale chosen by rule",),
        observes="LR + HR",
        regime="supervised",
        paper_obr=1.0,
        learned=TWO_HEADS,
        make=lambda setting, _, __: SupervisedBoth(setting, "sar-lr-hr-supervised", None),
    ),
    Entry(
        name="sar-lr-supervised",
        stands_for=("Table 2: SAR (LR)",),
        observes="LR",
        regime="supervised",
        paper_obr=0.0,
        learned=HEAD,
        make=lambda setting, _, __: SupervisedLR(setting, "sar-lr-supervised"),
    ),
    Entry(
        name="sar-supervised",
        stands_for=("Table 2: SAR",),
        observes="LR + HR",
        regime="supervised",
        paper_obr=SPARSE_OBR,
        learned=f"{TWO_HEADS}; the student of sar-kd",
        make=_supervised_disagreement,
    ),
    Entry(
        name="night-lights-supervised",
        stands_for=("Table 2: N.L. samp.",),
        observes="LR + HR",
        regime="supervised",
        paper_obr=SPARSE_OBR,
        learned=TWO_HEADS,
        needs=LIGHTS,
        draws=5,
        make=_supervised_night_lights,
    ),
    Entry(
        name="patchdrop",
        stands_for=("Table 2: PatchDrop",),
        observes="LR + HR",
        regime="supervised",
        paper_obr=PATCHDROP_OBR,
        learned="a policy by REINFORCE, and a linear head on the tiles it buys",
        make=lambda setting, _, __: PatchDrop(setting, "patchdrop"),
    ),
)
