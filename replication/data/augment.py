"""Pad, crop and flip for a whole batch at once, on the device that holds the images (Section 5.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad(images: Tensor, padding: int) -> Tensor:
    """Pad (n, H, W, C) uint8 images with black pixels (0 before scaling): (n, H + 2 padding, W + 2 padding, C).

    >>> pad(torch.ones(2, 32, 32, 3, dtype=torch.uint8), 4).shape
    torch.Size([2, 40, 40, 3])
    """
    return F.pad(images, (0, 0, padding, padding, padding, padding))


def crop_and_flip(
    padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, size: tuple[int, int]
) -> Tensor:
    """Crop and flip: image k is padded[index[k]], cropped to `size` at (top[k], left[k]), mirrored if flip[k].

    Args:
        padded: (n, H', W', C) uint8.
        index, top, left: (B,) int64.
        flip: (B,) bool.
        size: (H, W) of the result.

    Returns:
        (B, H, W, C) uint8.

    >>> padded = torch.arange(9, dtype=torch.uint8).view(1, 3, 3, 1)
    >>> one, yes = torch.tensor([1]), torch.tensor([True])
    >>> crop_and_flip(padded, torch.tensor([0]), one, one, yes, (2, 2))[0, :, :, 0].tolist()
    [[5, 4], [8, 7]]
    """
    height, width = size
    rows = top[:, None] + torch.arange(height, device=padded.device)  # (B, H)
    across = torch.arange(width, device=padded.device)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - across, across)  # (B, W)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def scale(images: Tensor) -> Tensor:
    """Scale (B, H, W, C) uint8 to pixel / 128 - 1, (B, C, H, W) float32; in memory the channels stay last.

    >>> scale(torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3)).flatten().tolist()
    [-1.0, 0.0, 0.9921875]
    """
    return (images.float() / 128 - 1).permute(0, 3, 1, 2)


def batch_order(
    n: int, epochs: int, seed: int, *, shuffle: str = "iid", batch_size: int = 128, files: int = 1
) -> Tensor:
    """Return the order of the images, (n * epochs,) int64, which is cut into batches across the borders of epochs.

    "iid": each epoch is a new permutation.  "buffered": the authors' input pipeline, which writes the images to one
    record file and reads it, repeated without end, through a shuffling buffer of 0.4 n + 3 batches.  In that file they
    lie as in the data set's archive, training file after training file, and within each of these class by class; so
    neighbouring batches share classes if there is one file (CIFAR-100), but hardly if there are five (CIFAR-10).  The
    images are expected class by class, as `keep_indices` gives them; the seed decides in which file each lies.

    Raises:
        ValueError: an unknown shuffle.

    >>> batch_order(4, 2, seed=0).view(2, 4).sort(1).values.tolist()  # each epoch holds each image once
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    generator = torch.Generator().manual_seed(seed)
    if shuffle == "iid":
        return torch.cat([torch.randperm(n, generator=generator) for _ in range(epochs)])
    if shuffle != "buffered":
        raise ValueError(f"shuffle must be iid or buffered, got {shuffle!r}")
    file = torch.randint(files, (n,), generator=generator)
    recorded = file.argsort(stable=True).tolist()
    size = int(0.4 * n) + 3 * batch_size
    slots = torch.randint(size, (n * epochs,), generator=generator).tolist()
    buffer = [recorded[i % n] for i in range(size)]
    order = []
    for step, slot in enumerate(slots):
        order.append(buffer[slot])
        buffer[slot] = recorded[(size + step) % n]
    return torch.tensor(order)


def crop_draws(n: int, padding: int, flip: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw (top, left, flip) of n crops: (n,) int64 in 0 .. 2 padding twice, and (n,) bool, all False without `flip`.

    >>> top, left, mirrored = crop_draws(1000, 4, False, seed=0)
    >>> int(top.min()), int(left.max()), bool(mirrored.any())
    (0, 8, False)
    """
    generator = torch.Generator().manual_seed(seed)
    top = torch.randint(2 * padding + 1, (n,), generator=generator)
    left = torch.randint(2 * padding + 1, (n,), generator=generator)
    mirrored = torch.randint(2, (n,), generator=generator).bool()
    return top, left, mirrored & flip
