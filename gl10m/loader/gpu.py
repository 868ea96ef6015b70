"""JPEG images decoded on a GPU, by torchvision's nvJPEG.

torchvision is no dependency: its packages must match PyTorch's. Without it or a GPU an error says so.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gl10m.loader.dataset import GL10MDataset
from gl10m.loader.scene import Encoded


class GpuDecodingUnavailableError(RuntimeError):
    """There is no GPU, or no torchvision that decodes on it."""


class NvjpegDecoder:
    """Makes samples whose images lie on a GPU; the `decoder` of `BatchLoader`.

    nvJPEG rounds otherwise than libjpeg-turbo: pixels may differ by a few levels. Checksums are compared on
    the CPU before, where the data set verifies.
    """

    def __init__(self, dataset: GL10MDataset, device: str = "cuda") -> None:
        """Decode on a device.

        Raises:
            GpuDecodingUnavailableError: it cannot be done here.
        """
        if not torch.cuda.is_available():
            raise GpuDecodingUnavailableError(
                "PyTorch sees no CUDA device; leave the decoder out to use the CPU"
            )
        try:
            self._io: Any = importlib.import_module("torchvision.io")
        except (ImportError, RuntimeError) as error:
            raise GpuDecodingUnavailableError(
                f"torchvision cannot be imported ({error}). Install the version that belongs to PyTorch "
                f"{torch.__version__}, or leave the decoder out to use the CPU."
            ) from error
        self.dataset, self.device = dataset, torch.device(device)

    def __call__(self, encoded: Encoded) -> Sequence[dict[str, Any]]:
        """Samples of what was fetched; images uint8 (3, 268, 268) on the device.

        Raises:
            StoreError: an image is damaged.
        """
        encoded.check()
        return self.dataset.described(encoded, self._decoded(encoded.lr), self._decoded(encoded.hr))

    def _decoded(self, contents: Sequence[memoryview]) -> Tensor:
        if not contents:
            return torch.empty((0, 3, 268, 268), dtype=torch.uint8, device=self.device)
        files = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
        images: list[Tensor] = self._io.decode_jpeg(
            files, mode=self._io.ImageReadMode.RGB, device=self.device
        )
        # The decoder works on streams of its own (torchvision issue 9606).
        torch.cuda.synchronize(self.device)
        return torch.stack(images)
