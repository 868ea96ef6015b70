"""Our reading of the authors' files computes what their own code computes; runs where that is installed.

`pip install git+https://github.com/xzhacc/CrossSO` brings it, with torchvision. Weights are random.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference_model.baselines import crossso_model
from reference_model.baselines.crossso_model import AuthorsModel, normalised
from reference_model.baselines.crossso_names import names
from reference_model.baselines.crossso_policy import read_fusion, read_policy
from reference_model.baselines.crossso_rows import RESIDUAL_GAIN, ClasswiseRow, best_tiles
from reference_model.baselines.crossso_transfer import GraftCompletion, mixed
from reference_model.metrics.retrieval import mean_average_precision
from reference_model.networks import crossso_files, published
from reference_model.networks.crossso import GRAFT_SPACE, VISION_LANGUAGE
from reference_model.networks.crossso_files import (
    read_completer,
    read_graft_patches,
    read_graft_sentinel,
    read_router,
)
from reference_model.networks.published_table import CLIP_DEVIATION, CLIP_MEAN, ENCODERS
from reference_model.networks.published_texts import embed_names_by_clip
from tests.reference_model.crossso_published import (
    POLICY_NAMES,
    Sizes,
    counts,
    dino,
    notes,
    write_published,
    write_text_tower,
)

theirs = pytest.importorskip("crossso.models", reason="pip install git+https://github.com/xzhacc/CrossSO")
fusion = pytest.importorskip("crossso.fusion", reason="pip install git+https://github.com/xzhacc/CrossSO")
metrics = pytest.importorskip("crossso.metrics", reason="pip install git+https://github.com/xzhacc/CrossSO")

pytestmark = pytest.mark.timeout(1800)  # networks of the published sizes, on a CPU that others use too

Record = Callable[[str, object], None]
"""Notes a measured difference in the report of the tests (`--junitxml` in the family xunit1)."""

BRIEF = Sizes(depth=2)
PUBLISHED = Sizes()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(BRIEF, id="two blocks"),
        pytest.param(PUBLISHED, id="published", marks=pytest.mark.slow),
    ],
)
def sizes(request: pytest.FixtureRequest) -> Sizes:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All files, and those of the networks that the authors build on; our tables fit them meanwhile."""
    made = write_published(tmp_path_factory.mktemp("crossso"), sizes)
    (made / "dino").mkdir()
    save_file(dino(sizes), made / "dino" / "model.safetensors", metadata={"format": "pt"})
    shape = {"hidden_size": sizes.dim, "num_hidden_layers": sizes.depth, "num_attention_heads": 12}
    told = {**shape, "model_type": "dinov2_with_registers", "patch_size": 14, "image_size": 14 * sizes.places}
    (made / "dino" / "config.json").write_text(json.dumps(told))
    write_text_tower(made / "words", sizes.words)
    vision = {"hidden_size": sizes.dim, "intermediate_size": 4 * sizes.dim, "num_hidden_layers": sizes.depth}
    vision |= {"num_attention_heads": 12, "image_size": 224, "patch_size": 16}
    (made / "clip").mkdir()
    (made / "clip" / "config.json").write_text(
        json.dumps({**vision, "projection_dim": sizes.graft_dim, "model_type": "clip_vision_model"})
    )
    tower = {
        name.removeprefix("satellite_image_backbone."): one
        for name, one in load_file(made / "graft_sentinel.safetensors").items()
        if name.startswith("satellite_image_backbone.")
    }
    save_file(tower, made / "clip" / "model.safetensors", metadata={"format": "pt"})
    with pytest.MonkeyPatch.context() as patched:
        shorten(sizes, patched)
        yield made


def shorten(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our tables with as many blocks as the files have."""
    table = {
        name: replace(one, shape=replace(one.shape, depth=sizes.depth))
        for name, one in ENCODERS.items()
        if one.shape is not None
    }
    for module in (published, crossso_files, crossso_model):
        monkeypatch.setattr(module, "ENCODERS", table)
    monkeypatch.setattr(crossso_model, "VISION_LANGUAGE", replace(VISION_LANGUAGE, depth=sizes.depth))


def images(count: int, px: int = 268, seed: int = 0) -> Tensor:
    """Blurred noise, uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 12, 12, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (px, px), mode="bicubic").clamp(0, 1)
    return (255 * (0.8 * fine + 0.2 * torch.rand(fine.shape, generator=generator))).byte()


def as_image(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def furthest(ours: Tensor, other: Tensor, told: str, record: Record) -> float:
    assert ours.shape == other.shape
    found = float((ours - other).abs().max())
    record(told, f"{found:.2e} of {float(other.abs().max()):.3g}")
    return found


@torch.no_grad()
def test_the_router_scores_tiles_as_theirs(folder: Path, sizes: Sizes, record_property: Record) -> None:
    model = theirs.Router(folder / "dino")
    model.load_checkpoint(folder / "router.safetensors")
    shape = ENCODERS["dinov2-registers"].shape
    assert shape is not None
    ours = read_router(folder / "router.safetensors", replace(shape, depth=sizes.depth))
    pixels = normalised(images(2), 280, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    logits = model.eval()(pixels).flatten(1)
    assert furthest(ours(pixels), logits, "router logits", record_property) < 1e-4 * float(logits.abs().max())


@torch.no_grad()
def test_graft_encodes_patches_and_scenes_as_theirs(folder: Path, record_property: Record) -> None:
    pixels = normalised(images(2), 224, "bicubic", CLIP_MEAN, CLIP_DEVIATION)
    model = theirs.GRAFT(folder / "clip")
    model.load_naip(folder / "graft_naip.safetensors")
    patches = GraftCompletion(read_graft_patches(folder / "graft_naip.safetensors"), None)  # type: ignore[arg-type]
    encoded = model.eval()(pixels)
    ours = patches.encoded(pixels)
    assert furthest(ours, encoded["normalized_patch_tokens"], "graft patches", record_property) < 1e-4
    alone = theirs.GRAFT(folder / "clip").eval()(pixels)["normalized_cls"]  # its backbone is the sentinel's
    sentinel = read_graft_sentinel(folder / "graft_sentinel.safetensors").network(pixels)[1]
    sentinel = torch.nn.functional.normalize(sentinel, dim=-1)
    assert furthest(sentinel, alone, "graft scenes", record_property) < 1e-4


@torch.no_grad()
def test_the_feature_predictor_completes_as_theirs(
    folder: Path, sizes: Sizes, record_property: Record
) -> None:
    if sizes != PUBLISHED:
        pytest.skip("their class has 12 blocks")
    core = theirs.PredictorCore()
    core.load_checkpoint(folder / "feature_predictor.safetensors")
    core.eval()
    ours = read_completer(folder / "feature_predictor.safetensors", GRAFT_SPACE)
    generator = torch.Generator().manual_seed(3)
    lr, hr = torch.randn(1, 196, 512, generator=generator), torch.randn(7, 196, 512, generator=generator)
    context, summary = core.lr_context_and_summary(lr)
    for name, mine, other in zip(("context", "summary"), ours.context(lr), (context, summary), strict=True):
        assert furthest(mine, other, f"feature {name}", record_property) < 1e-4
    pooled = core.hr_pooler(hr)
    assert furthest(ours.observed(hr), pooled, "feature tiles", record_property) < 1e-4
    tiles = [3, 14, 15, 50, 92, 98, 99]
    selected = torch.zeros(1, 100, dtype=torch.bool)
    selected[0, tiles] = True
    completed = core([dict(zip(tiles, pooled, strict=True))], context)
    assert furthest(ours(pooled, selected, context), completed, "feature scene", record_property) < 1e-3


@torch.no_grad()
def test_their_transfer_is_mixed_as_theirs(folder: Path, sizes: Sizes, record_property: Record) -> None:
    if sizes != PUBLISHED:
        pytest.skip("their class has 12 blocks")
    device = torch.device("cpu")
    branch = theirs.GraftZeroHRCompletion(
        clip_source=folder / "clip",
        graft_naip_checkpoint=folder / "graft_naip.safetensors",
        predictor_checkpoint=folder / "feature_predictor.safetensors",
        device=device,
    )
    overview = images(1)
    pixels = normalised(overview, 224, "bicubic", CLIP_MEAN, CLIP_DEVIATION)
    told = branch.transform(as_image(overview[0]))[None]
    assert furthest(pixels, told, "transfer pixels", record_property) < 1.01 / 255 / min(CLIP_DEVIATION)
    words = embed_names_by_clip(POLICY_NAMES, "openai/clip-vit-base-patch16", folder / "words", ["a {}"])
    predicted = branch.class_scores(branch.completed_features(pixels), words, pool="raw_feature_max")
    completion = GraftCompletion(
        read_graft_patches(folder / "graft_naip.safetensors"),
        read_completer(folder / "feature_predictor.safetensors", GRAFT_SPACE),
    )
    ours = completion(pixels) @ words.T
    assert furthest(ours, predicted, "completed scores", record_property) < 1e-4
    alone = torch.randn(1, 40, generator=torch.Generator().manual_seed(1))
    fused = theirs.fuse_graft_anchor_scores(alone, predicted, weight=0.35, normalization="row_zscore")
    assert furthest(mixed(alone, ours), fused, "fused scores", record_property) < 1e-2


def configured(folder: Path, sizes: Sizes) -> Any:  # noqa: ANN401
    return fusion.ZeroShotConfig(
        data_root=folder,
        checkpoint=folder / "vision_language_predictor.safetensors",
        router_checkpoint=folder / "router.safetensors",
        dinov2_source=folder / "dino",
        clip_text_source=folder / "words",
        image_size=260,
        hidden_dim=sizes.dim,
        tile_pool_k=4,
        lr_tile_k=2,
        layers=sizes.depth,
        head_dim=64,
        mlp_ratio=4.0,
        dropout=0.05,
        router_image_size=280,
        prompt_template="A high-resolution remote sensing image containing {labels}.",
        hr_residual_gain=0.075,
    )


@pytest.fixture(scope="module")
def both(folder: Path, sizes: Sizes) -> tuple[Any, AuthorsModel]:
    """Their model and ours, from the same files."""
    ours = AuthorsModel(folder, folder / "dino" / "model.safetensors").eval()
    return fusion.ZeroShotCrossSO(configured(folder, sizes), device="cpu"), ours


@torch.no_grad()
def test_classes_are_said_as_theirs(
    folder: Path, both: tuple[Any, AuthorsModel], record_property: Record
) -> None:
    said = [names().said_by_policy(name) for name in POLICY_NAMES]
    ours = embed_names_by_clip(said, "openai/clip-vit-base-patch32", folder / "words", [names().evaluation])
    assert furthest(ours, both[0].class_text_features(), "words", record_property) < 1e-5


@torch.no_grad()
def test_a_scene_is_scored_as_theirs_from_the_same_pixels(
    both: tuple[Any, AuthorsModel],
    scene: "OneScene",
    record_property: Record,
) -> None:
    """Router, 12 tiles, completion, scores, as they evaluate GL-10M."""
    model, ours = both
    for_router, for_encoder = model.router_transform(scene.lr)[None], model.lr_transform(scene.lr)[None]
    probabilities = model.route(for_router)
    worth = ours.router(for_router)
    assert furthest(worth.sigmoid()[0], probabilities, "router", record_property) < 1e-5
    chosen = probabilities.topk(12).indices.tolist()
    selected = best_tiles(worth, 12)
    assert sorted(chosen) == selected[0].nonzero()[:, 0].tolist()
    context = model._lr_context(for_encoder)[0]  # noqa: SLF001 - theirs has no other door
    whole = for_encoder[..., :252, :252]
    mine = ours.completer.context(ours.encoder(whole)[0])[0]
    assert furthest(mine, context, "LR context", record_property) < 1e-3
    encoded = model.encode_selected_hr(scene.provider(), sorted(chosen))
    pixels = torch.stack([model.hr_transform(scene.hr[tile]) for tile in sorted(chosen)])[..., :252, :252]
    observed = ours.completer.observed(ours.encoder(pixels)[0])
    told = torch.stack([encoded[tile] for tile in sorted(chosen)])
    assert furthest(observed, told, "bought tiles", record_property) < 1e-3
    completed = model.complete_encoded_batch(context, encoded, [chosen])
    words = model.class_text_features()
    scores = model.score(completed, words)[0]
    assert furthest(ours.completer(observed, selected, mine), completed, "completion", record_property) < 1e-2
    assert furthest(ours.scores(observed, selected, mine, words), scores, "scores", record_property) < 1e-3


@torch.no_grad()
def test_every_class_is_scored_from_its_own_tiles_as_theirs(
    both: tuple[Any, AuthorsModel],
    scene: "OneScene",
    record_property: Record,
) -> None:
    """From files to final scores: policy, residual gain, LR mixed in. Images are resized by PIL and by us."""
    model, ours = both
    provider = scene.provider()
    parts = model.predict_classwise_pc_score_components(scene.lr, provider)
    statistics = json.loads(notes()["fusion"])["statistics"]
    final = fusion.robust_mad_tail_fuse_scores(
        parts["pred_hr_scores"][None],
        parts["lr_mean_scores"][None],
        {name: torch.tensor(statistics[name]) for name in ("hr_mad", "lr_median", "lr_mad")},
        positive_weight=0.5,
        negative_weight=0.25,
        tail_threshold=0.8,
    )[0]
    row = scene.classwise(ours, model.class_text_features())
    bought = row.plan(torch.tensor([0]), 0.0)
    assert bought.sum() == parts["maximum_union_pc"] == max(counts().values())
    # The very tiles that theirs took, so that a tie in the router decides nothing here.
    taken = torch.zeros(1, 100, dtype=torch.bool)
    taken[0, provider.loaded_indices] = True
    scene.worth = parts["router_scores"]
    mine = row.embed(torch.tensor([0]), taken)[0]
    assert furthest(mine, final, "class-wise scores", record_property) < 0.02 * float(final.abs().max())


class OneScene:
    """A scene in files, as theirs reads it, and in tensors, as ours does."""

    def __init__(self, folder: Path) -> None:
        self.overview, self.tiles, self.folder = images(1, seed=4), images(100, seed=5), folder
        self.lr = as_image(self.overview[0])
        self.hr = [as_image(tile) for tile in self.tiles]
        self.worth: Tensor | None = None
        for place, tile in enumerate(self.hr):
            tile.save(folder / f"{place}.png")

    def provider(self) -> Any:  # noqa: ANN401
        return fusion.FileHRTileProvider([self.folder / f"{place}.png" for place in range(100)], 260)

    def classwise(self, model: AuthorsModel, words: Tensor) -> ClasswiseRow:
        """The row on this scene, without a run."""
        scene = self

        class Row(ClasswiseRow):
            def __init__(self) -> None:
                self.name, self.opened, self.words = "one scene", model, words
                self.policy, self.fusion = read_policy(model.file), read_fusion(model.file)

            def _concepts(self) -> list[str | None]:
                return list(POLICY_NAMES)

            def _worth(self, rows: Tensor) -> Tensor:
                return super()._worth(rows) if scene.worth is None else scene.worth[None]

            def _overviews(self, rows: Tensor) -> Tensor:  # noqa: ARG002
                return scene.overview

            def _tiles(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002
                return scene.tiles[selected[0]]

        return Row()


@pytest.fixture
def scene(tmp_path: Path) -> OneScene:
    return OneScene(tmp_path)


def test_the_policy_and_its_cost_are_theirs(folder: Path) -> None:
    told = theirs.ClasswisePcPolicy.from_checkpoint(folder / "vision_language_predictor.safetensors")
    ours = read_policy(folder / "vision_language_predictor.safetensors")
    assert [ours.count(name) for name in POLICY_NAMES] == [told.resolve(name) for name in POLICY_NAMES]
    assert ours.count(None) == told.resolve("solar farm")
    assert configured(folder, BRIEF).hr_residual_gain == RESIDUAL_GAIN


@pytest.mark.parametrize("k", [5, 20, 100])
def test_mean_average_precision_at_k_is_theirs(k: int) -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.normal(size=(200, 12)).astype(np.float32), rng.random((200, 12)) < 0.2
    relevant[:, 5] = False
    told = metrics.retrieval_map_at_ks(torch.from_numpy(scores), torch.from_numpy(relevant), [k])[f"mAP@{k}"]
    assert mean_average_precision(scores, relevant, k).mean == pytest.approx(told, abs=1e-6)
