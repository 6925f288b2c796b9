"""Evaluate the test logits of a run: errors by class and by shot group, logit adjustment, calibration."""

import hashlib
from pathlib import Path

import numpy as np

from replication.experiments.records import FEW, MANY
from replication.files import whole_file

BINS = 15  # of the expected calibration error


def errors(wrong: np.ndarray, test_counts: np.ndarray, train_counts: np.ndarray) -> dict[str, object]:
    """Return the errors by class and by shot group, in percent.

    Args:
        wrong: (C,) wrongly classified test images of each class.
        test_counts: (C,) test images of each class.
        train_counts: (C,) training images of each class.

    Returns:
        error_per_class, balanced_error (the mean over classes), many_error, medium_error and few_error (over the test
        images of the classes with over 100, 20 to 100, and under 20 training images; None for a group without classes).

    >>> errors(np.array([1, 5]), np.array([10, 10]), np.array([500, 5]))["few_error"]
    50.0
    """
    wrong, test_counts, train_counts = (np.asarray(a, dtype=float) for a in (wrong, test_counts, train_counts))
    per_class = 100 * wrong / test_counts
    groups = dict(
        many_error=train_counts > MANY,
        medium_error=(train_counts >= FEW) & (train_counts <= MANY),
        few_error=train_counts < FEW,
    )
    shots = {
        name: float(100 * wrong[group].sum() / test_counts[group].sum()) if group.any() else None
        for name, group in groups.items()
    }
    return dict(error_per_class=per_class.tolist(), balanced_error=float(per_class.mean()), **shots)


def adjusted_logits(logits: np.ndarray, class_counts: np.ndarray, tau: float = 1.0) -> np.ndarray:
    """Subtract tau times the logarithm of each class's share of the training set (Menon et al. 2021).

    Args:
        logits: (n, C).
        class_counts: (C,) training images of each class.
        tau: 1 is the Bayes rule for the balanced error.

    >>> int(adjusted_logits(np.zeros((1, 2)), np.array([75, 25])).argmax())
    1
    """
    counts = np.asarray(class_counts, dtype=float)
    return logits - tau * np.log(counts / counts.sum())


def calibration_error(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the expected calibration error of softmax probabilities, in percent (Guo et al. 2017).

    It is the mean over test images of |accuracy - confidence| of the image's bin, one of BINS of equal width.

    Args:
        logits: (n, C).
        targets: (n,) class indices.

    >>> calibration_error(np.array([[100.0, 0.0], [100.0, 0.0]]), np.array([0, 1]))
    50.0
    """
    z = logits.astype(float)
    z = np.exp(z - z.max(1, keepdims=True))
    confidence = z.max(1) / z.sum(1)  # (n,)
    right = logits.argmax(1) == targets
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=BINS)
    return float(100 * np.abs(gaps).sum() / len(targets))


def write_logits(path: Path, logits: np.ndarray) -> str:
    """Write (n, C) test logits as float16 in a compressed NumPy file; return its fingerprint, 16 hexadecimal digits.

    The fingerprint is taken of the float16 values, so it does not depend on the compression.
    """
    halves = logits.astype(np.float16)
    with whole_file(path) as file:
        np.savez_compressed(file, logits=halves)
    return logits_fingerprint(halves)


def logits_fingerprint(logits: np.ndarray) -> str:
    """Return the fingerprint of (n, C) logits as float16: the first 16 hexadecimal digits of their SHA-256.

    >>> logits_fingerprint(np.zeros((2, 3)))
    '15ec7bf0b50732b4'
    """
    return hashlib.sha256(np.ascontiguousarray(logits, dtype=np.float16).tobytes()).hexdigest()[:16]
