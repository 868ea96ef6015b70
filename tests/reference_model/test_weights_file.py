"""Our files of weights: the same tensors give the same bytes, and a changed bit is told."""

import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from reference_model.inference.folder import ModelFolderError, checked_tensors
from reference_model.run import Run, RunDamagedError
from reference_model.weights_file import WeightsChangedError, digest_of, read_weights, write_weights

NAMED = {
    "layer.weight": torch.linspace(-1, 1, 12).reshape(3, 4),
    "layer.bias": torch.tensor([0.5, -0.25, 1.0], dtype=torch.bfloat16),
    "steps": torch.tensor(7),
}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and digest_of(one) == digest_of(other)


def test_tensors_come_back_and_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    write_weights(tmp_path / "one", NAMED)
    write_weights(tmp_path / "two", dict(reversed(NAMED.items())))
    assert same(read_weights(tmp_path / "one"), NAMED)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "whole"
    write_weights(path, NAMED)
    return path


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_an_error_or_the_same_tensors(written: Path, place: float, bit: int) -> None:
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    spoiled = written.with_name("spoiled")
    spoiled.write_bytes(content)
    with contextlib.suppress(WeightsChangedError, SafetensorError):
        assert same(read_weights(spoiled), NAMED)  # the bit was in the padding


def test_type_shape_and_name_belong_to_the_digest() -> None:
    zeros = torch.zeros(2, 3)
    found = [
        digest_of(named)
        for named in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.reshape(3, 2)},
            {"a": zeros.int()},
            {"a": zeros[0], "b": zeros[1]},
        )
    ]
    assert len(set(found)) == len(found)


def test_a_run_folder_tells_of_a_flipped_bit_of_its_weights(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_weights("model.safetensors", NAMED)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(
        RunDamagedError, match=r"not those that were written.*Delete it and run the command again"
    ):
        run.read_weights("model.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in NAMED.items()}
    with pytest.raises(ModelFolderError, match="not those that were written"):
        checked_tensors(tmp_path / "model.safetensors", shapes)


def test_a_file_without_a_digest_is_refused(tmp_path: Path) -> None:
    save_file(NAMED, tmp_path / "weights")
    with pytest.raises(WeightsChangedError, match="has no `sha256`"):
        read_weights(tmp_path / "weights")
