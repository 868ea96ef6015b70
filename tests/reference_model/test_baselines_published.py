"""Rows that rest on published weights: a missing file is named, and the rows run from such files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click import Command
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn

from reference_model.baselines import published_probes, vision_language
from reference_model.baselines.entry import Assets
from reference_model.face import Setting
from reference_model.methods.registry import methods, outcomes
from reference_model.networks import published, resnet
from reference_model.networks.published import ENCODERS, PublishedEncoder, open_published
from reference_model.networks.published_files import WeightsNotFoundError
from reference_model.networks.resnet import ResNet
from reference_model.networks.vision_transformer import VisionTransformer
from reference_model.reproduction.cli import evaluate, reproduce
from tests.reference_model.tiny_networks import shaken, tiny_shape

transformers = pytest.importorskip("transformers", reason="the published classes come with the extra `hub`")

WORDS = ("remoteclip", "clip-rsicd", "openclip", "clip", "graft")
PROBES = ("resnet-50", "resnet-50-finetune", "satmae", "cross-scale-mae", "scale-mae")


@pytest.mark.parametrize("name", [*WORDS, *PROBES])
def test_a_row_without_its_weights_names_them_and_never_starts_at_random(
    setting: Setting, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    entry = methods()[name]
    assert entry.encoder is not None
    absent = Assets(weights={entry.encoder: tmp_path / "absent.pth"})
    with pytest.raises(WeightsNotFoundError) as caught:
        next(outcomes(setting, name, [0.0], assets=absent))
    assert ENCODERS[entry.encoder].file in str(caught.value)
    assert ENCODERS[entry.encoder].hub_id in str(caught.value)


def small(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A file of the published form, with a network small enough for a test."""
    one = ENCODERS[name]
    if one.shape is None:
        encoder = PublishedEncoder(one)
        tiny = one
    else:
        tiny = replace(one, shape=tiny_shape(one.shape), input_px=32)
        encoder = PublishedEncoder(tiny)
    shaken(encoder.network)
    table = {**ENCODERS, name: tiny}
    for module in (published, vision_language, published_probes):
        monkeypatch.setattr(module, "ENCODERS", table)
    state = _published_names(encoder.network, one.dialect)
    if one.texts_within:
        towers = _text_state(one.dialect)
        state |= towers
    path = folder / "weights.safetensors"
    save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    return path


def _text_state(dialect: str) -> dict[str, Tensor]:
    from reference_model.networks.clip_text import as_open_clip

    config = transformers.CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=77,
        projection_dim=16,
    )
    state = dict(shaken(transformers.CLIPTextModelWithProjection(config)).state_dict())
    return as_open_clip(state) if dialect == "open_clip" else state


LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
VOCABULARY = {
    one: place
    for place, one in enumerate(
        [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    )
}


def tokenizer_folder(folder: Path) -> Path:
    """A tokenizer of CLIP's kind that spells every word."""
    tokenizer = transformers.CLIPTokenizer(vocab=VOCABULARY, merges=[])
    tokenizer.save_pretrained(folder)
    return folder


def _published_names(network: nn.Module, dialect: str) -> dict[str, Tensor]:
    from tests.reference_model.test_published_vision import _as_open_clip

    if isinstance(network, ResNet):
        return dict(network.state_dict())
    assert isinstance(network, VisionTransformer)
    if dialect == "open_clip":
        named = _as_open_clip(network)
        return {name: one for name, one in named.items() if not name.startswith("token_embedding")}
    return _as_autoencoder(network) if dialect == "timm" else _as_transformers(network)


def _as_autoencoder(network: VisionTransformer) -> dict[str, Tensor]:
    """The masked autoencoders' own names, a bit of the decoder, and positions that Scale-MAE ignores."""
    state = network.state_dict()
    named = {
        "cls_token": state["class_token"],
        "pos_embed": state.get("position", torch.zeros(1, 17, 64)),
        "mask_token": torch.zeros(1, 1, 32),
        "decoder_embed.weight": torch.zeros(32, 64),
    }
    renamed = {"norm": "norm1", "mlp_norm": "norm2", "mlp.widen": "mlp.fc1", "mlp.narrow": "mlp.fc2"}
    for place in ("weight", "bias"):
        named[f"patch_embed.proj.{place}"] = state[f"patches.{place}"]
        named[f"norm.{place}"] = state[f"norm.{place}"]
        for mine in (f"blocks.{block}" for block in range(network.shape.depth)):
            joined = [state[f"{mine}.attention.{part}.{place}"] for part in ("query", "key", "value")]
            named[f"{mine}.attn.qkv.{place}"] = torch.cat(joined)
            named[f"{mine}.attn.proj.{place}"] = state[f"{mine}.attention.out.{place}"]
            named |= {f"{mine}.{new}.{place}": state[f"{mine}.{old}.{place}"] for old, new in renamed.items()}
    return named


def _as_transformers(network: VisionTransformer) -> dict[str, Tensor]:
    """CLIP's image tower as its published file names it."""
    state = network.state_dict()
    named = {
        "vision_model.embeddings.patch_embedding.weight": state["patches.weight"],
        "vision_model.embeddings.class_embedding": state["class_token"].flatten(),
        "vision_model.embeddings.position_embedding.weight": state["position"][0],
        "visual_projection.weight": state["project.weight"],
    }
    renamed = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    for name, one in state.items():
        parts = name.split(".")
        if parts[0] == "norm_first":
            named[f"vision_model.pre_layrnorm.{parts[1]}"] = one
        elif parts[0] == "norm":
            named[f"vision_model.post_layernorm.{parts[1]}"] = one
        elif parts[0] == "blocks":
            inside = {
                "norm": "layer_norm1",
                "mlp_norm": "layer_norm2",
                "attention": f"self_attn.{renamed.get(parts[3], '')}",
                "mlp": f"mlp.{'fc1' if parts[3] == 'widen' else 'fc2'}",
            }[parts[2]]
            named[f"vision_model.encoder.layers.{parts[1]}.{inside}.{parts[-1]}"] = one
    return named


@pytest.mark.parametrize("name", [word for word in WORDS if word != "graft"])
def test_a_vision_language_row_runs_from_one_file_and_a_tokenizer(
    setting: Setting, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(name, monkeypatch, tmp_path)
    assets = Assets(weights={name: path}, texts={name: tokenizer_folder(tmp_path / "tokenizer")})
    first, again = (next(outcomes(setting, name, [0.0], assets=assets)) for _ in range(2))
    assert first.scores.shape == (6, 5)
    assert first.scores.abs().max() <= 1.0001
    assert torch.equal(first.scores, again.scores)
    assert first.obr == 0


def test_graft_ranks_by_the_text_tower_of_clip(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small("graft", monkeypatch, tmp_path)
    folder = tokenizer_folder(tmp_path / "tower")
    config = transformers.CLIPConfig(
        text_config={
            "vocab_size": len(VOCABULARY),
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 32,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    assets = Assets(weights={"graft": path}, texts={"graft": folder})
    assert next(outcomes(setting, "graft", [0.0], assets=assets)).scores.shape == (6, 5)


def test_a_missing_tokenizer_is_named(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small("clip", monkeypatch, tmp_path)
    absent = Assets(weights={"clip": path}, texts={"clip": tmp_path / "nothing"})
    with pytest.raises(WeightsNotFoundError, match="the tokenizer of openai/clip-vit-base-patch16"):
        next(outcomes(setting, "clip", [0.0], assets=absent))


@pytest.mark.parametrize("name", ["satmae", "cross-scale-mae", "scale-mae"])
def test_a_probe_runs_from_the_published_file_and_reads_its_head_back(
    setting: Setting, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(name, monkeypatch, tmp_path)
    assets = Assets(weights={name: path})
    first = next(outcomes(setting, name, [0.0], assets=assets))
    heads = {one: one.read_bytes() for one in setting.job.run.folder.glob(f"baseline-{name}-*")}
    again = next(outcomes(setting, name, [0.0], assets=assets))
    assert torch.equal(first.scores, again.scores)
    assert len(heads) == 1
    assert {one: one.read_bytes() for one in heads} == heads


@pytest.mark.parametrize("name", ["resnet-50", "resnet-50-finetune"])
def test_resnet_50_runs_frozen_and_finetuned(
    setting: Setting, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResNet.__init__, "__defaults__", ((1, 1, 1, 1), 16))
    monkeypatch.setattr(resnet, "DIM", 512)
    brief = replace(setting.job.preset, finetuning=replace(setting.job.preset.finetuning, steps=3))
    quick = replace(setting, job=replace(setting.job, preset=brief))
    torch.manual_seed(0)
    path = tmp_path / "resnet50-0676ba61.pth"
    torch.save({**ResNet().state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}, path)
    before = open_published("resnet50", path).network.state_dict()
    entry = methods()[name]
    method = entry.make(quick, Assets(weights={"resnet50": path}), 0)
    method.fit()
    test = torch.from_numpy(quick.job.roles.test)
    scores = method.rank(method.embed(test, torch.zeros(6, 100, dtype=torch.bool)))
    assert isinstance(method, published_probes.PublishedProbe)
    assert method.encoder is not None
    same = all(torch.equal(one, before[key]) for key, one in method.encoder.network.state_dict().items())
    assert same == (name == "resnet-50")
    again = entry.make(quick, Assets(weights={name: path}), 0)
    again.fit()
    assert torch.equal(again.rank(again.embed(test, torch.zeros(6, 100, dtype=torch.bool))), scores)


@pytest.mark.parametrize("command", [reproduce, evaluate])
def test_files_for_a_row_that_is_none_are_refused_before_anything_is_made(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    out = ["--out", str(tmp_path / "out")] + (["--run", str(tmp_path)] if command is evaluate else [])
    told = CliRunner().invoke(
        command, ["--root", str(tmp_path), *out, "--row-weights", f"remoteclp={tmp_path / 'weights.pt'}"]
    )
    assert told.exit_code == 2
    assert "remoteclip, resnet-50" in told.output.replace("\n", " ")
    assert "got remoteclp" in told.output
    assert not (tmp_path / "out").exists()
