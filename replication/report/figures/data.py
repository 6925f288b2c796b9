"""Figure 4: images per class of the long-tailed sets, from the counts alone."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import IMBALANCE_FACTORS
from replication.report.analysis.published import SIZES, TABLE2_SETS, TITLES
from replication.report.figures.style import WIDTH, draw_by_class, panels


def class_counts_figure() -> Figure:
    """Draw the images kept per class at each imbalance factor: CIFAR-100 as in the paper's Figure 4, and CIFAR-10."""
    figure, axes = panels(3.4, 2)
    for axis, dataset in zip(axes, TABLE2_SETS, strict=True):
        counts = pd.DataFrame({f: long_tailed_counts(*SIZES[dataset], f) for f in sorted(IMBALANCE_FACTORS)})
        counts.columns = [f"imbalance {f:g}: {images:,} images" for f, images in counts.sum().items()]
        colours = colormaps["viridis"](np.linspace(0.9, 0.1, counts.shape[1]))
        title = f"long-tailed {TITLES[dataset]}"
        draw_by_class(axis, counts, title=title, ylabel="training images", color=colours, ylim=(1, None))
        axis.legend(loc="lower left")
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
    axis.set(xticks=[], title=title, frame_on=False)
    axis.grid(False)
    axis.tick_params(length=0)
    return figure
