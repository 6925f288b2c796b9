"""Figure 4: images per class of the long-tailed sets, from the counts alone."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import IMBALANCE_FACTORS

SETS = {"CIFAR-100": (500, 100), "CIFAR-10": (5000, 10)}  # images of the largest class, classes


def class_counts_figure() -> Figure:
    """Images kept per class at each imbalance factor, log axis: CIFAR-100 as in the paper's Figure 4, and CIFAR-10."""
    figure = Figure(figsize=(10, 3.6))
    for axis, (name, (largest, classes)) in zip(figure.subplots(1, 2), SETS.items(), strict=True):
        for step, factor in enumerate(sorted(IMBALANCE_FACTORS)):
            counts = long_tailed_counts(largest, classes, factor)
            colour = colormaps["viridis"](0.9 - 0.2 * step)
            label = f"imbalance {factor:g}: {sum(counts):,} images"
            axis.semilogy(range(classes), counts, color=colour, marker="." if classes <= 10 else None, label=label)
        axis.set(title=f"long-tailed {name}", xlabel="class, head to tail", ylabel="training images", ylim=(1, None))
        axis.legend(fontsize=8, loc="lower left")
    return figure


def image_rows(rows: list[np.ndarray], labels: list[str], title: str) -> Figure:
    """One row of images a label; rows may differ in length, as the classes of a long-tailed set do.

    Args:
        rows: for each label (k, H, W, C) uint8, C = 1 or 3.
        labels: written at the left of each row.
        title: above all.
    """
    width = max(len(row) for row in rows)
    figure = Figure(figsize=(0.55 * width + 1.5, 0.55 * len(rows) + 0.6))
    axes = figure.subplots(len(rows), width, squeeze=False)
    for row, label, line in zip(rows, labels, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        for image, axis in zip(row, line, strict=False):
            axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        line[0].text(-0.3, 0.5, label, transform=line[0].transAxes, ha="right", va="center")
    figure.suptitle(title)
    return figure


def schedule_figure(epochs: np.ndarray, rates: dict[str, np.ndarray]) -> Figure:
    """Learning rate against the epoch, logarithmic, one line per drop factor (zero, at the very start, is left out)."""
    figure = Figure(figsize=(6, 3))
    axis = figure.subplots()
    for (label, rate), style in zip(rates.items(), ("-", "--"), strict=False):
        axis.plot(epochs, np.where(rate > 0, rate, np.nan), style, color="black", label=label)
    axis.set(yscale="log", xlabel="epoch", ylabel="learning rate", title="Learning rate of a run")
    axis.legend()
    return figure
