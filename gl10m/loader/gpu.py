"""Decoding on a GPU by nvJPEG, through torchvision where that is installed.

nvJPEG interpolates colour in its own way: pixels differ by a few levels from those of libjpeg-turbo.

torchvision decodes on a stream of its own, which does not wait for the caller's: it may write into memory
whose last tensor is gone while kernels that read it are queued (https://github.com/pytorch/vision/pull/9606).
So images are decoded in a pool of memory of their own, which gives no block out before the default stream has
done with it. **This has not been run on a GPU.**
"""

from typing import Any

import torch
from torch import Tensor

from gl10m.loader.dataset import GL10MDataset
from gl10m.loader.scene import Encoded
from gl10m.store.codec import SIDE, ImageError


class GPUDecodingError(RuntimeError):
    """Images cannot be decoded on a GPU here."""


class NvjpegDecoder:
    """Makes samples whose images are on a GPU. Checksums are compared before, where the data set verifies.

    Who uses the images on another stream than the device's default one calls their `record_stream` with it.

    Example:
        >>> decoder = NvjpegDecoder(dataset, "cuda")  # doctest: +SKIP
        >>> loader = BatchLoader(dataset, batches, decoder=decoder)  # doctest: +SKIP
    """

    def __init__(self, dataset: GL10MDataset, device: str | torch.device = "cuda") -> None:
        """Take a data set and a device.

        Raises:
            GPUDecodingError: PyTorch sees no GPU, or torchvision is not installed.
        """
        if not torch.cuda.is_available():
            raise GPUDecodingError("decoding by nvJPEG needs a GPU, and PyTorch sees none; leave decoder out")
        try:
            from torchvision.io import ImageReadMode, decode_jpeg  # noqa: PLC0415 - no dependency of gl10m
        except (ImportError, OSError, RuntimeError) as error:
            raise GPUDecodingError(
                f"decoding by nvJPEG needs torchvision of the same build as PyTorch ({error}). Install it "
                "from where PyTorch came from, or leave decoder out."
            ) from error
        self._decode, self._mode = decode_jpeg, ImageReadMode.RGB
        self._dataset, self._device = dataset, torch.device(device)
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # PyTorch's own

    def __call__(self, encoded: Encoded) -> list[dict[str, Any]]:
        """Decode what `GL10MDataset.fetch` gave; samples as of `GL10MDataset.decode`, images on the device.

        Raises:
            DamagedImageError: an image is not as it was written.
            ImageError: it is not of 268 x 268 pixels.
        """
        encoded.check()
        images = self._images([*encoded.lr, *encoded.hr])
        first = len(encoded.lr)
        return self._dataset.described(encoded, images[:first], images[first:])

    def _images(self, contents: list[memoryview]) -> Tensor:
        tensors = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
        with torch.cuda.stream(self._stream):
            images = self._decode(tensors, mode=self._mode, device=self._device)
            wrong = {tuple(image.shape) for image in images} - {(3, SIDE, SIDE)}
            if wrong:
                raise ImageError(f"an image of the store is {SIDE} x {SIDE} pixels in colour; got {wrong}")
            together = torch.stack(images)
            # Before the single images go, whose memory is the next decoder's: they must have been copied.
            self._stream.synchronize()
        together.record_stream(torch.cuda.default_stream(self._device))
        return together
