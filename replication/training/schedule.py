"""The learning rate as a function of the epoch (Section 5.2 and the authors' code)."""

import math

CIFAR = (5, 160, 180, 200)  # epochs: end of the warm-up, drops, end
LARGE_SCALE = (5, 30, 60, 80, 90)


def learning_rate(
    epoch: float, *, epochs: int = 200, base: float = 0.1, drop_factor: float = 0.01, points: tuple[int, ...] = CIFAR
) -> float:
    """Return the rate: linear from 0 to `base` over 5 epochs, times `drop_factor` at epochs 160 and 180 of 200.

    These points scale with the number of epochs.  The large-scale runs have other `points`.

    Args:
        epoch: epochs trained so far, a fraction within an epoch: steps done x batch size / images.
        epochs: length of the run.
        base: learning rate after the warm-up.
        drop_factor: 0.01 in the paper's long-tailed runs, 0.1 in most other code.
        points: epochs of the full schedule: end of the warm-up, drops, end.

    Raises:
        ValueError: epoch outside [0, epochs].

    >>> [learning_rate(e) for e in (0, 2.5, 5, 160, 180)]
    [0.0, 0.05, 0.1, 0.001, 1e-05]
    """
    if not (math.isfinite(epoch) and 0 <= epoch <= epochs):
        raise ValueError(f"epoch must be in [0, {epochs}], got {epoch!r}")
    warm_up, *drops = (point * epochs / points[-1] for point in points[:-1])
    if epoch < warm_up:
        return base * epoch / warm_up
    return base * drop_factor ** sum(epoch >= drop for drop in drops)
