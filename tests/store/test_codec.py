"""Images to JPEG and back."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gl10m.store import codec


def smooth(seed: int = 0) -> NDArray[np.uint8]:
    """Waves: as easy to encode as fields from the air."""
    generator = np.random.default_rng(seed)
    across = np.linspace(0, 6, codec.SIDE)
    waves = [np.sin(a * across[:, None] + b * across) for a, b in generator.uniform(0.5, 2, (3, 2))]
    return (np.stack(waves) * 100 + 128).astype(np.uint8)


def error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("encode", [codec.encode_lr, codec.encode_tile])
def test_an_image_comes_back_nearly_as_it_was(
    encode: Callable[[NDArray[np.uint8]], bytes],
) -> None:
    pixels = codec.decode(encode(smooth()))
    assert pixels.shape == (3, 268, 268)
    assert pixels.dtype == np.uint8
    assert error(pixels, smooth()) < 1.5


def test_the_same_pixels_give_the_same_bytes() -> None:
    assert codec.encode_tile(smooth()) == codec.encode_tile(np.asfortranarray(smooth()))


def test_red_stays_red_and_north_stays_north() -> None:
    rgb = np.zeros((3, 268, 268), np.uint8)
    rgb[0, :134] = 255
    pixels = codec.decode(codec.encode_lr(rgb))
    assert pixels[0, 10, 200] > 250
    assert pixels[1, 10, 200] < 5
    assert pixels[0, 250, 200] < 5


def test_pillow_sees_the_same_image_and_baseline_settings() -> None:
    encoded = codec.encode_tile(smooth())
    with Image.open(io.BytesIO(encoded)) as image:
        assert not image.info.get("progressive")
        # Decoders may differ by a level or two in how they smooth the half-resolution colour.
        assert error(np.asarray(image).transpose(2, 0, 1), codec.decode(encoded)) < 1


def test_pure_noise_fits(capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 268, 268), dtype=np.uint8)
    encoded = codec.encode_lr(noise)
    capfd.readouterr()  # libjpeg says on stderr that its first try had too little room
    assert len(encoded) < codec.MAX_IMAGE_BYTES / 5
    assert error(codec.decode(encoded), noise) < 4


@pytest.mark.parametrize("rgb", [np.zeros((268, 268, 3), np.uint8), np.zeros((3, 268, 268), np.float32)])
def test_other_shapes_and_types_are_refused(rgb: NDArray[np.uint8]) -> None:
    with pytest.raises(codec.ImageError, match=r"uint8 of shape \(3, 268, 268\)"):
        codec.encode_tile(rgb)


@pytest.mark.parametrize("cut", [0, 3, 200, -1000, -2])
def test_a_cut_image_is_refused(cut: int) -> None:
    with pytest.raises(codec.ImageError):
        codec.decode(codec.encode_tile(smooth())[:cut])


def test_an_image_of_another_size_is_refused_by_its_header() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "JPEG")
    with pytest.raises(codec.ImageError, match="got 8000 x 8000"):
        codec.decode(file.getvalue())


def test_a_grey_image_is_refused() -> None:
    file = io.BytesIO()
    Image.new("L", (268, 268)).save(file, "JPEG")
    with pytest.raises(codec.ImageError, match="Gray"):
        codec.decode(file.getvalue())


def test_a_huge_file_is_refused_unread() -> None:
    with pytest.raises(codec.ImageError, match="at most"):
        codec.decode(bytes(codec.MAX_IMAGE_BYTES + 1))
