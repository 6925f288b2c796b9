"""Figure 7, and iNaturalist's images and effective numbers as in Figure 6."""

import pandas as pd
from matplotlib.figure import Figure

from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import BALANCED, COLUMNS, SPLIT, paper_runs
from replication.report.analysis.published import TITLES, class_counts
from replication.report.figures.style import LOSS_COLOURS, legend_below, panels
from replication.report.figures.theory import effective_numbers_figure


def figure7(records: pd.DataFrame) -> Figure | None:
    """Validation error over the epochs, softmax and CB focal, ResNet-50 at 224; dots: Table 3, where the paper ends.

    None without a run of ours: the paper prints the curves as a picture only.
    """
    if not len(paper_runs(records, "softmax")) and not len(paper_runs(records, BALANCED)):
        return None
    figure, axes = panels(3.6, 2)
    printed = paper.table3().query("net == 'ResNet-50' and input == 224").set_index("loss")
    for axis, dataset in zip(axes, ("ilsvrc2012", "inat2018"), strict=True):
        for label, row in (("softmax", "Softmax"), (BALANCED, "CB Focal")):
            colour, name = LOSS_COLOURS[label], "softmax" if label == "softmax" else "CB focal (0.999, 0.5)"
            axis.plot([90], [printed.loc[row, f"{COLUMNS[dataset]}_top1"]], "o", color=colour, label=f"{name}, paper")
            runs = paper_runs(records, label).query("dataset == @dataset and depth == 50")
            for curve in map(pd.DataFrame, runs["curve"]):
                axis.plot(curve["epoch"], curve["error"], color=colour, linewidth=1)
        for epoch in (30, SPLIT, 80):
            axis.axvline(epoch, color="black", linewidth=0.6, linestyle=":")
        axis.set(title=f"{TITLES[dataset]}, ResNet-50", xlabel="epoch", xlim=(0, 93), ylim=(15, 75))
    axes[0].set_ylabel("top-1 error (percent)")
    legend_below(figure, axis, 2)
    return figure


def counts_figure() -> Figure:
    """Draw Figure 6 for iNaturalist."""
    sets = [(TITLES[name], class_counts(name)) for name in ("inat2017", "inat2018")]
    return effective_numbers_figure({f"{name}: {n.sum():,} images, {len(n):,} classes": n for name, n in sets})
