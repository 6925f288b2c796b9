"""Pad, crop and flip for a whole batch at once, on the device that holds the images (Section 5.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad(images: Tensor, padding: int) -> Tensor:
    """(n, H, W, C) uint8 -> (n, H + 2 padding, W + 2 padding, C), black around (pixel value 0, before scaling)."""
    return F.pad(images, (0, 0, padding, padding, padding, padding))


def crop_and_flip(
    padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, size: tuple[int, int]
) -> Tensor:
    """Batch k is padded[index[k]] cropped to `size` at (top[k], left[k]), mirrored where flip[k].

    Args:
        padded: (n, H', W', C) uint8.
        index, top, left: (B,) int64.
        flip: (B,) bool.
        size: (H, W) of the result.

    Returns:
        (B, H, W, C) uint8.
    """
    height, width = size
    rows = top[:, None] + torch.arange(height, device=padded.device)  # (B, H)
    across = torch.arange(width, device=padded.device)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - across, across)  # (B, W)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def scale(images: Tensor) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32, pixel / 128 - 1; in memory the channels stay last."""
    return (images.float() / 128 - 1).permute(0, 3, 1, 2)


def batch_order(
    n: int, epochs: int, seed: int, *, shuffle: str = "iid", batch_size: int = 128, files: int = 1
) -> Tensor:
    """Which image is taken when: (n * epochs,) int64, cut into batches one after the other across epoch borders.

    "iid": each epoch is a new permutation.  "buffered": the authors' input pipeline, which writes the images to one
    record file and reads it, repeated without end, through a shuffling buffer of 0.4 n + 3 batches.  In that file they
    lie as in the data set's archive, training file after training file, and within each of these class by class; so
    with one file (CIFAR-100) neighbouring batches share classes, and with five (CIFAR-10) hardly.  The images are
    expected class by class, as `keep_indices` gives them; which of the `files` each lies in is drawn from the seed.
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
    """(top, left, flip) of n crops: (n,) int64 in 0 .. 2 padding twice, and (n,) bool, all False without `flip`."""
    generator = torch.Generator().manual_seed(seed)
    top = torch.randint(2 * padding + 1, (n,), generator=generator)
    left = torch.randint(2 * padding + 1, (n,), generator=generator)
    mirrored = torch.randint(2, (n,), generator=generator).bool()
    return top, left, mirrored & flip
