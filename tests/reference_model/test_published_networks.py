"""Networks of the baselines compute what the published classes compute, and read the published files."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_model.networks.checkpoint_names import CheckpointNamesError, load_published
from reference_model.networks.clip_text import as_open_clip, clip_text_features
from reference_model.networks.ground_positions import ground_positions
from reference_model.networks.published import ENCODERS, PublishedEncoder
from reference_model.networks.published_files import read_weights
from reference_model.networks.resnet import ResNet, load_resnet
from reference_model.networks.vision_transformer import Shape, VisionTransformer
from tests.reference_model.tiny_networks import TINY, noise, shaken, tiny_shape

transformers = pytest.importorskip("transformers", reason="the published classes come with the extra `hub`")


def test_resnet_50_has_the_names_and_shapes_of_torchvision() -> None:
    with torch.device("meta"):
        state = ResNet().state_dict()
    assert sum(one.numel() for name, one in ResNet().named_parameters()) == 25_557_032 - 2_049_000
    assert len(state) == 318
    for name, shape in {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.bn3.num_batches_tracked": (),
        "layer4.0.downsample.1.running_var": (2048,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
    }.items():
        assert state[name].shape == shape


@torch.no_grad()
def test_a_resnet_computes_what_the_published_class_computes() -> None:
    """transformers' class, whose layers have other names, with the stride in the 3 x 3 convolution."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[2, 1, 1, 2])
    theirs = shaken(transformers.ResNetModel(config))
    ours = ResNet((2, 1, 1, 2), width=8)
    load_resnet(ours, {_as_torchvision(name): one for name, one in theirs.state_dict().items()})
    tokens = ours.eval()(noise(2, 96))
    torch.testing.assert_close(
        tokens, theirs(noise(2, 96)).last_hidden_state.flatten(2).mT, atol=1e-4, rtol=1e-4
    )
    assert tokens.shape == (2, 9, 256)


def _as_torchvision(name: str) -> str:
    parts = name.split(".")
    kind = {"convolution": "conv", "normalization": "bn"}
    if parts[0] == "embedder":
        return f"{kind[parts[2]]}1.{parts[3]}"
    stage, layer = int(parts[2]) + 1, parts[4]
    if parts[5] == "shortcut":
        return f"layer{stage}.{layer}.downsample.{0 if parts[6] == 'convolution' else 1}.{parts[7]}"
    return f"layer{stage}.{layer}.{kind[parts[7]]}{int(parts[6]) + 1}.{parts[8]}"


def test_another_network_is_no_resnet() -> None:
    with pytest.raises(CheckpointNamesError, match="not that of this ResNet"):
        load_resnet(ResNet((1, 1, 1, 1), width=8), {"conv1.weight": torch.zeros(8, 3, 7, 7)})


@pytest.mark.parametrize("metres", [1.0, 11.96])
def test_positions_on_the_ground_are_those_of_the_formula(metres: float) -> None:
    """sin and cos of (g / G) * place / 10000 ** (2 i / D), half of the channels a direction."""
    grid, dim = 5, 16
    wanted = torch.zeros(grid, grid, dim)
    for row in range(grid):
        for column in range(grid):
            for half, place in enumerate((column, row)):
                for i in range(dim // 4):
                    angle = torch.tensor(metres * place / 10_000 ** (2 * i / (dim // 2))).double()
                    wanted[row, column, half * dim // 2 + i] = angle.sin()
                    wanted[row, column, half * dim // 2 + dim // 4 + i] = angle.cos()
    torch.testing.assert_close(
        ground_positions(grid, dim, metres), wanted.flatten(0, 1), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_the_same_ground_has_the_same_positions_at_any_resolution() -> None:
    coarse, fine = ground_positions(4, 16, 2.0), ground_positions(8, 16, 1.0)
    torch.testing.assert_close(coarse.view(4, 4, 16), fine.view(8, 8, 16)[::2, ::2])
    network = shaken(VisionTransformer(Shape(**TINY, eps=1e-6, position="ground")))
    assert "position" not in network.state_dict()
    assert not torch.allclose(network(noise(1, 32), 10.0)[0], network(noise(1, 32), 1.0)[0])


@torch.no_grad()
def test_a_masked_autoencoder_with_fixed_positions_is_scale_mae_at_one_metre() -> None:
    """ViTMAE adds the same table of sines and cosines: the oracle for a pixel of 1 m."""
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    config = transformers.ViTMAEConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        mask_ratio=0.0,
    )
    model = shaken(transformers.ViTMAEModel(config))
    rows_first = build_2d_sinusoidal_position_embedding(height=4, width=4, embed_dim=32, cls_token=True)
    # The published autoencoders name columns before rows.
    model.embeddings.position_embeddings[0] = torch.cat([rows_first[:, 16:], rows_first[:, :16]], dim=1)
    shape = Shape(**{**TINY, "dim": 32}, eps=1e-12, position="ground")
    network = VisionTransformer(shape)
    state = {name.removeprefix("vit."): one for name, one in model.state_dict().items()}
    load_published(network, state, "transformers")
    theirs = model(pixel_values=noise(2, 32), noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
    torch.testing.assert_close(network(noise(2, 32))[0], theirs[:, 1:], atol=1e-5, rtol=1e-4)


def text_tower() -> Any:  # noqa: ANN401 - a class of transformers
    config = transformers.CLIPTextConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=12,
        projection_dim=16,
        eos_token_id=49,
        bos_token_id=48,
        pad_token_id=49,
    )
    return shaken(transformers.CLIPTextModelWithProjection(config))


@torch.no_grad()
@pytest.mark.parametrize("form", ["transformers", "open_clip"])
def test_the_text_tower_computes_what_the_published_class_computes(form: str) -> None:
    model = text_tower()
    tokens = torch.tensor([[48, 3, 7, 49, 49, 49], [48, 1, 2, 3, 4, 49]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    state = dict(model.state_dict())
    state = as_open_clip(state) if form == "open_clip" else state
    ours = clip_text_features(state, tokens, mask.sum(dim=1), "quick_gelu", head_dim=8)
    theirs = model(input_ids=tokens, attention_mask=mask).text_embeds
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("spoil", ["lacks", "shape"])
def test_a_text_tower_with_a_spoiled_part_is_told(spoil: str) -> None:
    tower = text_tower()
    state = dict(tower.state_dict())
    name = next(one for one in state if one.endswith("layers.0.mlp.fc1.weight"))
    if spoil == "lacks":
        del state[name]
    else:
        state[name] = state[name][:, :-1]
    tokens = torch.ones(1, 3, dtype=torch.int64)
    with pytest.raises(CheckpointNamesError, match="text tower is not one of CLIP"):
        clip_text_features(state, tokens, torch.tensor([3]), "quick_gelu", head_dim=8)


def test_a_file_without_a_text_tower_is_told() -> None:
    with pytest.raises(CheckpointNamesError, match="no text tower of CLIP"):
        clip_text_features({}, torch.zeros(1, 3, dtype=torch.int64), torch.tensor([3]), "gelu")


@torch.no_grad()
def test_graft_is_read_out_of_its_wrapper() -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    model = shaken(transformers.CLIPVisionModelWithProjection(config))
    wrapped = {f"satellite_image_backbone.{name}": one for name, one in model.state_dict().items()}
    wrapped |= {"projector.0.weight": torch.ones(64), "projector.1.weight": torch.zeros(16, 64)}
    wrapped["logit_scale"] = torch.tensor(2.66)
    assert ENCODERS["graft"].shape is not None
    shape = tiny_shape(ENCODERS["graft"].shape)
    encoder = PublishedEncoder(replace(ENCODERS["graft"], shape=shape, input_px=32)).load(wrapped)
    torch.testing.assert_close(
        encoder.network(noise(2, 32))[1], model(noise(2, 32)).image_embeds, atol=1e-5, rtol=1e-4
    )
    assert float(encoder.log_scale) == pytest.approx(2.66)


def test_a_command_line_beside_the_weights_is_no_danger(tmp_path: Path) -> None:
    """The masked autoencoders' own files hold their `argparse.Namespace`."""
    path = tmp_path / "fmow_pretrain.pth"
    torch.save({"model": {"one": torch.ones(2)}, "args": argparse.Namespace(lr=1e-3), "epoch": 7}, path)
    assert torch.equal(read_weights(path)["one"], torch.ones(2))
