"""What baselines may learn from: Base classes in the zero-shot rows, all of them in the supervised ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_model.baselines.covariates import SyntheticLights
from reference_model.baselines.entry import Assets
from reference_model.face import Setting
from reference_model.methods.registry import methods, outcomes
from reference_model.pretrain import Texts
from reference_model.run import Run

ZERO_SHOT = ("sar-hr", "sar-lr-hr", "sar-kd", "sar-sparse", "sar-night-lights", "random-tiles")
SUPERVISED = ("sar-hr-supervised", "sar-lr-supervised", "sar-lr-hr-supervised")


def otherwise(setting: Setting, folder: Path) -> Setting:
    """The same, but every Novel label of a scene to learn from is wrong, and every Novel word another."""
    folder.mkdir()
    catalogue, test = setting.job.catalogue, torch.from_numpy(setting.job.roles.test)
    learned = torch.ones(len(catalogue.labels), dtype=torch.bool)
    learned[test] = False
    labels, words = catalogue.labels.clone(), setting.texts.embeddings.clone()
    for one in catalogue.novel:
        labels[learned, one] = ~labels[learned, one]
        words[one] = words[one].roll(1)
    job = replace(setting.job, catalogue=replace(catalogue, labels=labels), run=Run(folder))
    texts = Texts(embeddings=words, log_scale=setting.texts.log_scale, bias=setting.texts.bias)
    return replace(setting, job=job, texts=texts)


def learned(setting: Setting, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    lit = Assets(covariate=SyntheticLights(setting.job.catalogue, frozenset({0, 1})))
    outcome = next(outcomes(setting, name, [0.236], assets=lit))
    return outcome.selected, outcome.scores[:, setting.job.catalogue.base]


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_no_novel_word_or_label_changes_what_a_zero_shot_row_buys_or_says_of_base_classes(
    setting: Setting, name: str, tmp_path: Path
) -> None:
    assert methods()[name].regime == "zero-shot"
    selected, scores = learned(setting, name)
    selected_otherwise, scores_otherwise = learned(otherwise(setting, tmp_path / "otherwise"), name)
    assert torch.equal(selected, selected_otherwise)
    assert torch.equal(scores, scores_otherwise)


@pytest.mark.parametrize("name", SUPERVISED)
def test_supervised_rows_learn_from_all_labels(setting: Setting, name: str, tmp_path: Path) -> None:
    assert methods()[name].regime == "supervised"
    first = next(outcomes(setting, name, [0.236])).scores[:, list(setting.job.catalogue.novel)]
    spoilt = next(outcomes(otherwise(setting, tmp_path / "otherwise"), name, [0.236]))
    assert not torch.equal(first, spoilt.scores[:, list(setting.job.catalogue.novel)])
