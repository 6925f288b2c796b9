"""Figure 4: images per class of the long-tailed sets, from the counts alone."""

from matplotlib import colormaps
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.training.experiment import IMBALANCE_FACTORS

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
