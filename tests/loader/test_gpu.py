"""Decoding on a GPU gives what the processor gives, within the codec's tolerance."""

from pathlib import Path

import pytest
import torch

from gl10m.loader import BatchLoader, GL10MDataset
from gl10m.loader.gpu import GPUDecodingError, NvjpegDecoder
from tests.store.small_scenes import build


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(GPUDecodingError, match="sees none"):
        NvjpegDecoder(GL10MDataset(build(tmp_path, CA=1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: decoding on one was not tried")
def test_a_gpu_decodes_the_same_pixels(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    dataset = GL10MDataset(build(tmp_path, CA=3), tiles=[1, 50])
    here = next(iter(BatchLoader(dataset, [[0, 2]])))
    there = next(iter(BatchLoader(dataset, [[0, 2]], decoder=NvjpegDecoder(dataset))))
    for name in ("image", "hr"):
        apart = (here[name].float() - there[name].cpu().float()).abs()
        assert apart.mean() < 2
