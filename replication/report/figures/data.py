"""Figure 4: images per class of the long-tailed sets, from the counts alone."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import IMBALANCE_FACTORS
from replication.report.analysis.published import SIZES, TABLE2_SETS, TITLES
from replication.report.figures.style import WIDTH, panels


def class_counts_figure() -> Figure:
    """Draw the images kept per class at each imbalance factor: CIFAR-100 as in the paper's Figure 4, and CIFAR-10."""
    figure, axes = panels(3.4, 2)
    for axis, dataset in zip(axes, TABLE2_SETS, strict=True):
        largest, classes = SIZES[dataset]
        for step, factor in enumerate(sorted(IMBALANCE_FACTORS)):
            counts = long_tailed_counts(largest, classes, factor)
            colour = colormaps["viridis"](0.9 - 0.2 * step)
            label = f"imbalance {factor:g}: {sum(counts):,} images"
            axis.semilogy(range(classes), counts, color=colour, marker="." if classes <= 10 else None, label=label)
        axis.set(title=f"long-tailed {TITLES[dataset]}", xlabel="class, head to tail", ylabel="training images")
        axis.set_ylim(1, None)
        axis.legend(fontsize=8, loc="lower left")
    return figure


def image_rows(rows: list[np.ndarray], labels: list[str], title: str) -> Figure:
    """Draw a row of images, (k, H, W, C) uint8 with C = 1 or 3, per label; rows may differ in length."""
    size, width = rows[0].shape[1], max(len(row) for row in rows)
    cell = size + max(1, size // 10)
    canvas = np.full((cell * len(rows), cell * width, 3), 255, dtype=np.uint8)  # one picture: white between the images
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            canvas[i * cell :, j * cell :][:size, :size] = image
    figure, (axis,) = panels(min(9, (WIDTH - 1.3) * len(rows) / width) + 0.5)
    axis.imshow(canvas)
    axis.set_yticks([i * cell + size / 2 for i in range(len(rows))], labels)
    axis.set(xticks=[], title=title)
    axis.grid(False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure
