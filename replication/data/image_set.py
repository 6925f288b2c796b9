"""ImageSet: labelled images in memory, with a fingerprint that does not depend on their order."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from replication.data.long_tail import keep_indices, long_tailed_counts

NATURAL = "natural"  # the imbalance of the data themselves


@dataclass(frozen=True)
class ImageSet:
    """Images in memory: `images` (n, H, W, C) uint8, `targets` (n,) int64, a name for each class.

    `padding` (pixels on each side) and `flip` say how the set is augmented in training.

    >>> data = ImageSet(np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 0]), ("cat", "dog"))
    >>> len(data), data.class_counts
    (3, [2, 1])
    """

    images: np.ndarray
    targets: np.ndarray
    class_names: tuple[str, ...]
    padding: int = 4
    flip: bool = True

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def class_counts(self) -> list[int]:
        """Images of each class, in the order of `class_names`."""
        return [int(n) for n in np.bincount(self.targets, minlength=len(self.class_names))]

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of a SHA-256 over all labelled images, in whatever order they are."""
        shape = str(self.images.shape[1:]).encode()
        labelled = zip(self.targets.tolist(), self.images, strict=True)
        digests = [hashlib.blake2b(b"%d" % y + shape + x.tobytes(), digest_size=16).digest() for y, x in labelled]
        return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:16]

    def subset(self, index: np.ndarray) -> "ImageSet":
        """Return the images with these indices, in this order."""
        return ImageSet(self.images[index], self.targets[index], self.class_names, self.padding, self.flip)

    def long_tailed(self, imbalance_factor: float | str, seed: int) -> "ImageSet":
        """Return the long-tailed subset that `seed` keeps, class by class; "natural" keeps every image."""
        return self.subset(self.long_tailed_indices(imbalance_factor, seed))

    def long_tailed_indices(self, imbalance_factor: float | str, seed: int) -> np.ndarray:
        """Return the indices of the images of `long_tailed`, (n,) int64."""
        return keep_indices(self.images, self.targets, self.long_tailed_counts(imbalance_factor), seed)

    def long_tailed_counts(self, imbalance_factor: float | str) -> list[int]:
        """Return the images of each class in a long-tailed subset; "natural" gives the class counts as they are.

        The largest class keeps as many images as the smallest class of this set has, which is all in a balanced set.

        >>> data = ImageSet(np.zeros((9, 1, 1, 3), np.uint8), np.array([0, 0, 0, 0, 0, 0, 1, 1, 1]), ("a", "b"))
        >>> data.long_tailed_counts(3), data.long_tailed_counts("natural")
        ([3, 1], [6, 3])
        """
        if isinstance(imbalance_factor, str):
            if imbalance_factor != NATURAL:
                raise ValueError(f"imbalance_factor must be a number >= 1 or {NATURAL}, got {imbalance_factor!r}")
            return self.class_counts
        counts = self.class_counts
        try:
            return long_tailed_counts(min(counts), len(counts), imbalance_factor)
        except ValueError as error:
            uneven = f" (the classes have {min(counts)} to {max(counts)} images; the largest keeps {min(counts)})"
            raise ValueError(f"{error}{uneven if min(counts) < max(counts) else ''}") from None
