"""Figures of the gain: the forest plot, and methods side by side.

Change in error everywhere: points, minus is better.  Hollow marks are the paper's, filled ones ours.
"""

import pandas as pd
from matplotlib.figure import Figure

from replication.report.analysis import published as paper
from replication.report.analysis.methods import METHODS, methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS
from replication.report.figures import style
from replication.report.figures.style import CHANGE, panels

OURS = "C0"  # as the first block of the forest plot
FILLED: dict = dict(fmt="o", markersize=5, elinewidth=1.6)
HOLLOW: dict = dict(marker="o", markersize=6.5, mfc="white", mew=1.3, linestyle="none", zorder=4)


def forest_figure(rows: pd.DataFrame) -> Figure | None:
    """Draw a line per comparison: ours filled with its 95 % interval, the printed value hollow, the word at the margin.

    Args:
        rows: block (a heading above its first row), dataset, label, mean, low, high, n, word, printed (may be NaN).
            Without rows there is no figure.
    """
    if rows.empty:
        return None
    rows = pd.concat([group for _, group in rows.groupby("block", sort=False)])  # each block in one piece
    place = rows.groupby("block", sort=False).ngroup()
    rows = rows.assign(y=1.2 * place + range(1, len(rows) + 1))  # room for headings
    blocks = rows.groupby("block", sort=False)
    figure, (axis,) = panels(0.25 * (len(rows) + 1.2 * len(blocks)) + 1.0)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.plot(rows["printed"], rows["y"], color=style.PUBLISHED_COLOUR, label="the paper, as printed", **HOLLOW)
    margin: dict = dict(transform=axis.get_yaxis_transform(), va="center", fontsize=9)
    for k, (block, group) in enumerate(blocks):
        axis.text(0.01, group["y"].min() - 1, block, color=f"C{k}", weight="bold", bbox=style.WHITE_BOX, **margin)
        axis.errorbar(group["mean"], group["y"], xerr=group["high"] - group["mean"], color=f"C{k}", **FILLED)
    for row in rows.itertuples():
        axis.text(1.02, row.y, f"{row.word}, n = {row.n:.0f}", **margin)
    axis.set_yticks(rows["y"], rows["label"], fontsize=9)
    axis.set(ylim=(rows["y"].max() + 0.7, -0.8), xlabel=CHANGE)
    axis.plot([], [], "o-", color=OURS, label="ours, mean over seeds and 95 % interval")
    figure.suptitle(_tally(rows))
    style.legend_below(figure, axis, 2)
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

    Return None below style.POINTS measured changes.
    """
    known = methods(profile).query("change_n > 0")
    if len(known) < style.POINTS:
        return None
    names = [method for method in METHODS if method in set(known["method"])]
    groups = known.assign(y=known["method"].map(names.index)).groupby("dataset", sort=False)
    figure, axes = panels(0.42 * len(names) + 1.7, len(groups), sharey=True)
    for axis, (dataset, here) in zip(axes, groups, strict=True):
        axis.axvline(0, color="black", linewidth=0.8)
        axis.errorbar(here["change"], here["y"], xerr=here["change_high"] - here["change"], color=OURS, **FILLED)
        for row in here.itertuples():
            text = f"{row.change:+z.1f} (n = {row.change_n:.0f})"
            axis.annotate(text, (row.change, row.y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        best = here.loc[here["change"].idxmin(), "method"]
        lowest = "lowest error" if here["change_n"].min() >= SEEDS else "lowest so far, seeds missing"
        axis.set(title=f"{paper.TITLES[dataset]}, {lowest}:\n{best}", ylim=(len(names) - 0.5, -0.7), xmargin=0.15)
        axis.set_xlabel(CHANGE, fontsize=9)
        axis.set_yticks(range(len(names)), names)
    figure.suptitle(f"{profile.heading}, imbalance 100, 95 % intervals")
    return figure
