"""Novel classes reach neither loss nor supervision, and are ranked all the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gl10m.manifest.novel import novel_concepts
from reference_model import encoding, stages
from reference_model.alignment import trained_head
from reference_model.holdout import assign
from reference_model.job import Job
from reference_model.networks.encoder import Backbone
from reference_model.pretrain import Texts
from reference_model.run import open_run
from reference_model.scenes import Catalogue, NovelClassError, read_catalogue
from reference_model.train import Ground, Recipe, train_reference
from tests.reference_model.test_training import SMALL, SPLITS
from tests.reference_model.worlds import World

NOVEL = ("Marina", "Farmland")
LEARNED = torch.tensor([split != "test" for split in SPLITS])

WEIGHTS = ("encoder", "sampler", "predictor", "model")


@pytest.fixture(scope="module")
def world() -> World:
    return World(len(SPLITS))


@pytest.fixture(scope="module")
def catalogue(world: World) -> Catalogue:
    return read_catalogue(world, NOVEL)


def run(world: World, catalogue: Catalogue, out: Path) -> dict[str, Any]:
    ground = Ground(scenes=world, catalogue=catalogue, splits=SPLITS)
    return train_reference(ground, out, Recipe(preset=SMALL), 0, lambda _: None)


@pytest.fixture(scope="module")
def honest(world: World, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("novel") / "honest"
    run(world, catalogue, out)
    return out


def test_inverted_novel_labels_change_no_weight_and_no_result(
    world: World, catalogue: Catalogue, honest: Path, tmp_path: Path
) -> None:
    labels, of_tiles = catalogue.labels.clone(), catalogue.tile_labels.clone()
    for array in (labels, of_tiles):
        for one in catalogue.novel:
            array[LEARNED, ..., one] = ~array[LEARNED, ..., one]
    metrics = run(world, replace(catalogue, labels=labels, tile_labels=of_tiles), tmp_path / "spoilt")
    for file in (*(f"{name}.safetensors" for name in (*WEIGHTS, "texts")), "supervision.json"):
        assert (tmp_path / "spoilt" / file).read_bytes() == (honest / file).read_bytes(), file
    assert metrics["observations"] == run(world, catalogue, honest)["observations"]


def test_other_novel_names_change_no_weight(
    world: World, catalogue: Catalogue, honest: Path, tmp_path: Path
) -> None:
    names = tuple("zzz" if name in NOVEL else name for name in catalogue.class_names)
    run(world, replace(catalogue, class_names=names), tmp_path / "renamed")
    for name in WEIGHTS:
        file = f"{name}.safetensors"
        assert (tmp_path / "renamed" / file).read_bytes() == (honest / file).read_bytes(), name


def test_the_same_names_as_base_do_change_the_weights(
    world: World, catalogue: Catalogue, honest: Path, tmp_path: Path
) -> None:
    run(world, replace(catalogue, novel=()), tmp_path / "all")
    for name in WEIGHTS:
        file = f"{name}.safetensors"
        assert (tmp_path / "all" / file).read_bytes() != (honest / file).read_bytes(), name


def _stages(job: Job, encoder: Backbone, texts: Texts) -> dict[str, Tensor]:
    """Everything that is made from class names: G* and the weights."""
    features = encoding.encoded(job, encoder)
    supervision, targets = stages.worth(job, features, texts)
    sampler = stages.trained_sampler(job, features, supervision, targets)
    scores = stages.predicted_worth(job.scenes, encoder, sampler)
    predictor, mean = stages.trained_predictor(job, features, encoder)
    head = trained_head(
        job,
        features=features,
        encoder=encoder,
        texts=texts,
        predictor=predictor,
        mean=mean,
        normalised=stages.calibrated(job, scores).normalised(scores),
    )
    return {"G*": targets, "scores": scores, **predictor.state_dict(), **head.state_dict()}


def test_novel_text_embeddings_may_be_nan(world: World, catalogue: Catalogue, tmp_path: Path) -> None:
    made = []
    for poison in (False, True):
        with open_run(tmp_path / str(poison), {}) as folder:
            job = Job(
                run=folder,
                preset=SMALL,
                seed=0,
                target_obr=0.123,
                scenes=world,
                catalogue=catalogue,
                roles=assign(SPLITS, catalogue.bounds, 0),
            )
            encoder, texts = encoding.trained_encoder(job)
            if poison:
                texts.embeddings[list(catalogue.novel)] = torch.nan
            made.append(_stages(job, encoder, texts))
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


def test_a_result_tells_base_and_novel_apart(world: World, catalogue: Catalogue, honest: Path) -> None:
    metrics = run(world, catalogue, honest)
    assert metrics["classes"]["evaluated_novel"] == 2
    for row in metrics["observations"].values():
        base, novel = row["mAP@5_base"], row["mAP@5_novel"]
        assert row["mAP@5"] == pytest.approx((3 * base + 2 * novel) / 5)


def test_novel_classes_are_the_packages_own_unless_named(world: World) -> None:
    assert read_catalogue(world).novel == ()  # none of the five is on the list
    held_out = read_catalogue(world, ("Marina",))
    assert held_out.novel == (2,)
    assert held_out.base_names == ("Golf course", "Solar farm", "Forest", "Farmland")
    listed = World(1)
    listed.class_names = (*novel_concepts()[:1], "Golf course", "Solar farm", "Marina", "Forest")
    assert read_catalogue(listed).novel == (0,)
    with pytest.raises(NovelClassError, match=r"it has no 'Moon base'\. Name some of Golf course"):
        read_catalogue(world, ("Moon base",))
    with pytest.raises(NovelClassError, match="all 5 are named as Novel"):
        read_catalogue(world, world.class_names)
