"""Long-tailed class counts, and the images of each class that a seed keeps (Section 5.1).

The counts decay exponentially from the first class to the last; the choice of images depends on the seed and on the
images' own bytes alone, so an archive and a folder of PNG files in any order give the same subset.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from replication.theory.arguments import LARGEST, check_from_one, check_whole, shown


def long_tailed_counts(largest: int, num_classes: int, imbalance_factor: float) -> list[int]:
    """Return the images kept per class, n_i = int(largest * (1 / imbalance_factor) ** (i / (C - 1))), Section 5.1.

    Counts are rounded as in the authors' code, so that the totals agree with the published ones.

    Args:
        largest: images of the largest (first) class.
        num_classes: C.
        imbalance_factor: largest class over smallest, >= 1; 1 is balanced.

    Raises:
        ValueError: an argument out of range, or a smallest class that would be empty.

    >>> sum(long_tailed_counts(5000, 10, 100))
    12406
    """
    largest = check_whole("largest", largest, 1, LARGEST)
    num_classes = check_whole("num_classes", num_classes, 1, LARGEST)
    factor = check_from_one("imbalance_factor", imbalance_factor)
    if num_classes > 1 and factor > largest:
        raise ValueError(
            f"imbalance_factor must be at most largest = {largest}, or a class is empty; got {shown(imbalance_factor)}"
        )
    steps = max(num_classes - 1, 1)
    counts = [int(largest * (1.0 / factor) ** (i / steps)) for i in range(num_classes)]
    return [max(count, 1) for count in counts]  # 49 * (1 / 49) rounds to less than 1


def keep_indices(images: np.ndarray, targets: np.ndarray, class_counts: Sequence[int], seed: int) -> np.ndarray:
    """Choose the images that `seed` keeps: the class_counts[c] of class c with the lowest keyed hash of the pixels.

    Args:
        images: (n, H, W, C) uint8.
        targets: (n,) int64, classes 0 .. len(class_counts) - 1.
        class_counts: images to keep per class, each at most the number in `targets`.
        seed: key of the hash, from 0 to 2**128 - 1.

    Returns:
        (sum(class_counts),) int64, class by class, each class in the order of its hashes.  The images behind these
        indices, in this order, do not depend on the order of the input.

    Raises:
        ValueError: a class has fewer images than are to be kept, or a seed out of range.

    >>> images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    >>> keep_indices(images, np.array([0, 1, 0, 0]), [2, 1], seed=0).tolist()
    [3, 0, 1]
    """
    if not 0 <= seed < 2**128:
        raise ValueError(f"seed must be a whole number from 0 to 2**128 - 1, got {shown(seed)}")
    key = int(seed).to_bytes(16, "little")
    kept = []
    for label, count in enumerate(class_counts):
        members = np.flatnonzero(targets == label)
        if count > len(members):
            raise ValueError(f"class_counts[{label}] must be at most the {len(members)} images there are, got {count}")
        ranks = [hashlib.blake2b(images[i].tobytes(), key=key, digest_size=16).digest() for i in members]
        kept.append(members[np.array(sorted(range(len(members)), key=ranks.__getitem__)[:count], dtype=np.int64)])
    return np.concatenate(kept)
