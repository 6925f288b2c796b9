"""Find near-duplicates among the raw pixels of a data set, with and without augmentation, and the N they imply.

This compares N between classes, data sets and augmentations at one radius.  It cannot measure N itself: the radius is
the unit of volume, and one that holds a share q of all pairs makes the average N 1/q by construction.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from tqdm import tqdm

from replication.theory.volume_estimate import beta_from_features

AUGMENTATIONS = ("none", "crop and flip", "one random crop and flip")
SHARES = (1e-3, 1e-2)  # of the pairs within a class that lie within the radius, no augmentation


def take(images: np.ndarray, targets: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose `per_class` images of each class by the seed, or all of a smaller one: images (n, H, W, C), targets (n,).

    >>> images, targets = take(np.zeros((9, 2, 2, 1)), np.array([0, 0, 0, 0, 0, 0, 0, 1, 1]), per_class=3, seed=0)
    >>> images.shape, targets.tolist()
    ((5, 2, 2, 1), [0, 0, 0, 1, 1])
    """
    if per_class < 2:
        raise ValueError(f"per_class must be at least 2, got {per_class!r}")
    order = np.random.default_rng(seed).permutation(len(targets))
    index = np.sort(np.concatenate([order[targets[order] == c][:per_class] for c in np.unique(targets)]))
    return images[index], targets[index]


def radii_from_shares(images: np.ndarray, targets: np.ndarray, shares: Sequence[float] = SHARES) -> list[float]:
    """Return the distances within which these shares of all pairs of one class lie (no augmentation, classes pooled).

    >>> radii_from_shares(np.array([0, 1, 5, 7]).reshape(4, 1, 1, 1), np.array([0, 0, 0, 0]), shares=(0.5, 1))
    [4.0, 7.0]
    """
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares must lie in (0, 1], got {list(shares)}")
    flat = images.reshape(len(images), -1).astype(np.float64)
    distances = np.sort(np.concatenate([pdist(flat[targets == c]) for c in np.unique(targets)]))
    return [float(distances[max(int(np.ceil(share * len(distances))) - 1, 0)]) for share in shares]


def crops(images: np.ndarray, padding: int) -> Iterator[np.ndarray]:
    """Yield every crop of the zero-padded images, as it is and mirrored: (n, H W C) float64 each.

    >>> len(list(crops(np.ones((1, 2, 2, 1)), padding=1)))  # 3 x 3 places, twice
    18
    """
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            for flip in (False, True):
                yield (crop[:, :, ::-1] if flip else crop).reshape(n, -1).astype(np.float64)


def random_crops(images: np.ndarray, padding: int, seed: int) -> np.ndarray:
    """Take one random crop of each image, mirrored with probability 1/2: (n, H W C) float64.

    >>> random_crops(np.ones((5, 2, 2, 1)), padding=1, seed=0).shape
    (5, 4)
    """
    generator = np.random.default_rng(seed)
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    corners = generator.integers(2 * padding + 1, size=(len(images), 2))
    mirrored = generator.integers(2, size=len(images))
    result = [
        image[top : top + height, left : left + width][:, :: -1 if flip else 1].ravel()
        for image, (top, left), flip in zip(padded, corners, mirrored, strict=True)
    ]
    return np.array(result, dtype=np.float64)


def near_duplicates(
    images: np.ndarray,
    targets: np.ndarray,
    class_names: Sequence[str],
    radii: Sequence[float],
    augmentations: Sequence[str] = ("none",),
    padding: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate N and beta of each class from the pairs of images within each radius.

    Args:
        images: (n, H, W, C) whole numbers; targets (n,) 0 .. len(class_names) - 1.
        augmentations: "none": the images as they are.  "crop and flip": an image stands for all its crops and mirrored
            crops, and a pair coincides if a copy of one lies within the radius of the other; this is the paper's
            reading (a sample and its augmented copies are one), and it can only lower N.  "one random crop and flip":
            each image replaced by one augmented copy, as a network sees it; this can raise N.
        padding: zeros around an image before it is cropped, in pixels.

    Returns:
        class_name, augmentation, then the columns of `beta_from_features`.

    Raises:
        ValueError: an unknown augmentation, padding below 0.

    >>> images = np.array([0, 1, 9, 0, 1, 2]).reshape(6, 1, 1, 1)
    >>> table = near_duplicates(images, np.repeat([0, 1], 3), ("a", "b"), radii=[1.0])
    >>> table[["class_name", "collisions", "N"]].values.tolist()
    [['a', 1, 3.0], ['b', 2, 1.5]]
    """
    unknown = set(augmentations) - set(AUGMENTATIONS)
    if unknown or not augmentations:
        raise ValueError(f"augmentations must be of {', '.join(AUGMENTATIONS)}, got {list(augmentations)}")
    if padding < 0:
        raise ValueError(f"padding must be at least 0 pixels, got {padding!r}")
    flat = images.reshape(len(images), -1).astype(np.float64)
    frames = []
    todo = [(augmentation, radius) for augmentation in augmentations for radius in radii]
    for augmentation, radius in tqdm(todo, desc="near-duplicates", leave=False, delay=2):
        features = random_crops(images, padding, seed) if augmentation == AUGMENTATIONS[2] else flat
        copies = crops(images, padding) if augmentation == AUGMENTATIONS[1] else ()
        frame = beta_from_features(features, radius, targets, copies)
        frame["class_name"] = [class_names[c] for c in frame["class_name"]]
        frame.insert(1, "augmentation", augmentation)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
