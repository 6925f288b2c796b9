"""Figures of the gain: the forest plot, and methods side by side.

Change in error everywhere: points, minus is better.  Hollow marks are the paper's, filled ones ours.
"""

import pandas as pd
from matplotlib.figure import Figure

from replication.report.analysis import published as paper
from replication.report.analysis.methods import METHODS, methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS
from replication.report.figures.style import CHANGE, LOSS_COLOURS, POINTS, PUBLISHED_COLOUR, legend_below, panels

OURS = LOSS_COLOURS["softmax"]
BLOCK_COLOURS = (OURS, LOSS_COLOURS["focal 2.0"], LOSS_COLOURS["focal 0.5"])  # full protocol, short training, ...
FILLED: dict = dict(fmt="o", markersize=5, elinewidth=1.6, zorder=3)
HOLLOW: dict = dict(marker="o", markersize=6.5, markerfacecolor="white", markeredgewidth=1.3, linestyle="none")


def forest_figure(rows: pd.DataFrame) -> Figure | None:
    """Draw a line per comparison: ours filled with its 95 % interval, the printed value hollow, the word at the margin.

    Args:
        rows: block (a heading above its first row), dataset, label, mean, low, high, n, word, printed (may be NaN).
            Without rows there is no figure.
    """
    if rows.empty:
        return None
    blocks = list(rows.groupby("block", sort=False))
    figure, (axis,) = panels(0.25 * (len(rows) + 1.2 * len(blocks)) + 1.0)
    axis.axvline(0, color="black", linewidth=0.8)
    margin, ticks, y = axis.get_yaxis_transform(), {}, -1.2
    for (block, group), colour in zip(blocks, BLOCK_COLOURS, strict=False):
        y += 1.2
        head: dict = dict(fontsize=9.5, weight="bold", color=colour)
        head["bbox"] = dict(facecolor="white", edgecolor="none", pad=1)  # covers the line at 0
        axis.text(0.01, y, block, transform=margin, va="center", zorder=5, **head)
        for row in group.to_dict("records"):
            y += 1
            ticks[y] = row["label"]
            axis.plot(row["printed"], y, color=PUBLISHED_COLOUR, zorder=4, **HOLLOW)
            axis.errorbar(row["mean"], y, xerr=row["high"] - row["mean"], color=colour, **FILLED)
            axis.text(1.02, y, f"{row['word']}, n = {row['n']:.0f}", transform=margin, va="center", fontsize=9)
    axis.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    figure.suptitle(_tally(rows), fontsize=10.5)
    axis.set(ylim=(y + 0.7, -0.8), xlabel=CHANGE)
    axis.plot([], [], color=PUBLISHED_COLOUR, label="the paper, as printed", **HOLLOW)
    axis.plot([], [], "o-", color=BLOCK_COLOURS[0], label="ours, mean over seeds and 95 % interval")
    legend_below(figure, axis, 2, fontsize=9)
    return figure


def _tally(rows: pd.DataFrame) -> str:
    """Say, in a line for each block, in how many of the columns of each data set the class-balanced loss is better."""
    said: dict[str, list[str]] = {}
    for (block, dataset), words in rows.groupby(["block", "dataset"], sort=False)["word"]:
        known = [word for word in ("better", "worse") if word in set(words)]
        counts = [f"{word} in {(words == word).sum()} of {len(words)}" for word in known]
        found = f"{paper.TITLES[dataset]} {' and '.join(counts) or f'undecided in {len(words)}'}"
        said.setdefault(block.split(" (")[0], []).append(found)
    return "\n".join(f"{study}: {', '.join(found)}" for study, found in said.items())


def methods_figure(profile: Profile) -> Figure | None:
    """Draw the change in error from plain cross-entropy at imbalance 100, a line per method, a panel per data set.

    Return None below POINTS measured changes.
    """
    known = methods(profile).query("change_n > 0")
    if len(known) < POINTS:
        return None
    groups, names = list(known.groupby("dataset", sort=False)), [m for m in METHODS if m in set(known["method"])]
    figure, axes = panels(0.42 * len(names) + 1.7, len(groups), sharey=True)
    for axis, (dataset, here) in zip(axes, groups, strict=True):
        axis.axvline(0, color="black", linewidth=0.8)
        for row in here.to_dict("records"):
            y = names.index(row["method"])
            axis.errorbar(row["change"], y, xerr=row["change_high"] - row["change"], color=OURS, **FILLED)
            text = f"{row['change']:+z.1f} (n = {row['change_n']:.0f})"
            axis.annotate(text, (row["change"], y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
        best = here.loc[here["change"].idxmin(), "method"]
        lowest = "lowest error" if here["change_n"].min() >= SEEDS else "lowest so far, seeds missing"
        axis.set_title(f"{paper.TITLES[dataset]}, {lowest}:\n{best}", fontsize=9.5)
        axis.set_xlabel(CHANGE, fontsize=9)
        axis.set_ylim(len(names) - 0.5, -0.7)
        axis.margins(x=0.15)  # room for the numbers
        axis.set_yticks(range(len(names)), names)
    figure.suptitle(f"{profile.heading}, imbalance 100, 95 % intervals")
    return figure
