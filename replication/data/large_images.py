"""Decode large images one by one in a DataLoader's workers: crops, normalisation, order of images (Section 5.4).

`KeyedImages` decodes the files of `image_lists`, and `batch_keys` gives their order.  Crop and flip depend on (seed,
epoch, image) alone, not on processes or workers.
"""

import functools
import os
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from replication.data.image_files import UNREADABLE, open_image
from replication.data.image_lists import ImageFiles
from replication.data.seeds import stream

INATURALIST = (0.466, 0.471, 0.380), (0.195, 0.194, 0.192)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_AND_STD = {"inat2017": INATURALIST, "inat2018": INATURALIST, "ilsvrc2012": IMAGENET, "folder": IMAGENET}
IGNORED = -100  # the target of an image that cannot be read


def crop_padding(size: int) -> int:
    """Return how much wider than the evaluation crop the resized image is, in pixels: a seventh, as in the paper.

    >>> crop_padding(224), crop_padding(320)
    (32, 46)
    """
    return round(size / 7)


def train_transform(size: int) -> v2.Transform:
    """Return PIL image -> (3, size, size) uint8: random crop (area 0.08 to 1, aspect 3/4 to 4/3), bicubic, flip.

    >>> train_transform(32)(Image.new("RGB", (50, 40))).shape
    torch.Size([3, 32, 32])
    """
    crop = v2.RandomResizedCrop(size, (0.08, 1.0), (3 / 4, 4 / 3), InterpolationMode.BICUBIC)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])


def test_transform(size: int) -> v2.Transform:
    """Return PIL image -> (3, size, size) uint8: central square, size / (size + padding) of the shorter side.

    >>> test_transform(32)(Image.new("RGB", (50, 40))).shape
    torch.Size([3, 32, 32])
    """
    return v2.Compose([functools.partial(central_crop, size=size), v2.PILToTensor()])


def central_crop(image: Image.Image, size: int) -> Image.Image:
    """Take the authors' evaluation crop; unlike theirs, the resize is antialiased, as in torchvision and PIL.

    >>> central_crop(Image.new("RGB", (400, 300)), 224).size
    (224, 224)
    """
    side = int(size / (size + crop_padding(size)) * min(image.size))
    top, left = (image.height - side + 1) // 2, (image.width - side + 1) // 2
    return v2.functional.resized_crop(image, top, left, side, side, [size, size], InterpolationMode.BICUBIC)


def normalise(dataset: str, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return a function from (B, 3, H, W) uint8 on `device` to float32: (pixel / 255 - mean) / std of the data set.

    Mean and std are on the device from the start: v2.Normalize copies them there each time and waits for the copy.

    >>> normalise("folder")(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).shape
    torch.Size([1, 3, 1, 1])
    """
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in MEAN_AND_STD[dataset])
    return lambda images: (images / 255).sub_(mean).div_(std)


class KeyedImages(torch.utils.data.Dataset[tuple[Tensor, int, int]]):
    """A data set read by (epoch, index): image (3, size, size) uint8, target, index.

    An image that cannot be read is black, with target IGNORED.

    >>> import numpy as np
    >>> files = ImageFiles(np.array([b"nowhere.png"]), np.array([0]), ("a",))
    >>> KeyedImages(files, test_transform(8), 8)[0, 0][1] == IGNORED
    True
    """

    def __init__(self, files: ImageFiles, transform: v2.Transform, size: int, seed: int = 0):
        self.files, self.transform, self.size, self.seed = files, transform, size, seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        epoch, index = key
        try:
            image = open_image(os.fsdecode(self.files.paths[index]))
        except UNREADABLE:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), IGNORED, index
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(stream(self.seed, epoch, index))
            return self.transform(image), int(self.files.targets[index]), index


def batch_keys(
    images: int,
    batch: int,
    steps: range,
    seed: int,
    *,
    rank: int = 0,
    processes: int = 1,
    micro_batch: int | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Yield the keys (epoch, index) of each micro-batch of one process, over `steps`.

    An epoch is a permutation of all images; batches of `batch` are cut one after the other across epoch borders, and
    process `rank` takes the rank-th of `processes` equal parts of each.  The batches are the same for any number of
    processes.

    >>> [len(batch) for batch in batch_keys(10, 4, range(3), seed=0, processes=2)]
    [2, 2, 2]
    """

    @functools.lru_cache(maxsize=1)
    def order(epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(stream(seed, "order", epoch))
        return torch.randperm(images, generator=generator).tolist()

    part = batch // processes
    size = micro_batch or part
    for step in steps:
        first = step * batch + rank * part
        keys = [(k // images, order(k // images)[k % images]) for k in range(first, first + part)]
        for start in range(0, part, size):
            yield keys[start : start + size]
