"""Figures of the formula: losses and their slopes, class weights, effective numbers (Figures 3 and 6)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS
from replication.report.analysis.published import SIZES, TABLE2_SETS, TITLES, class_counts
from replication.report.figures import style
from replication.theory.effective_number import class_balanced_weights, effective_number

FIGURE6_COUNTS = {f"long-tailed {TITLES[d]}": long_tailed_counts(*SIZES[d], 50) for d in TABLE2_SETS}  # Section 5.1
CURVES = {0.0: "β = 0: no re-weighting", **{b: f"β = {b}" for b in BETAS[1:]}, 1.0: "β = 1: inverse frequency"}
COLOURS = {name: style.BETA_COLOURS.get(beta, style.THEORY_COLOUR) for beta, name in CURVES.items()}
LOOK: dict = dict(color=COLOURS, style={CURVES[0.0]: "--", CURVES[1.0]: ":"})


def losses_figure(values: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """Draw the losses (columns) and their derivatives against a logit: the index, whose name is the label."""
    figure, axes = style.panels(3.5, 2)
    for axis, curves, ylabel in zip(axes, (values, slopes), ("loss", "derivative of the loss"), strict=True):
        backwards = curves.iloc[:, ::-1]  # softmax on top
        backwards.plot(ax=axis, color=style.LOSS_COLOURS, style={"softmax": "--"}, ylabel=ylabel, legend=False)
        axis.axvline(0, color=style.THEORY_COLOUR, linewidth=0.5)
    if np.allclose(slopes["softmax"], slopes["sigmoid"]):
        axes[1].set_title("softmax (dashed) and sigmoid: same slope")
    style.legend_below(figure, axes[0], values.shape[1])
    return figure


def class_balanced_term_figure() -> Figure:
    """Figure 3: (1 - beta) / (1 - beta^n) against n, both axes logarithmic, between its limits 1 and 1 / n."""
    n = pd.Index(np.geomspace(1, 10_000, 400), name="samples of the class, n")
    terms = pd.DataFrame({name: 1 / effective_number(n, beta) for beta, name in CURVES.items()}, n)
    figure, (axis,) = style.panels(4, width=5.6)
    terms.plot(ax=axis, loglog=True, ylabel="(1 − β) / (1 − βⁿ)", title="Class-balanced term", **LOOK)
    return figure


def class_weights_figure() -> Figure:
    """The weight of each class for each beta at the counts of Figure 6, logarithmic; those of a panel average 1."""
    figure, axes = style.panels(3.6, 2)
    for axis, (title, counts) in zip(axes, FIGURE6_COUNTS.items(), strict=True):
        weights = pd.DataFrame({name: class_balanced_weights(counts, beta) for beta, name in CURVES.items()})
        style.draw_by_class(axis, weights, title=f"{title}, imbalance 50", ylabel="weight", **LOOK)
    style.legend_below(figure, axis, 3)
    return figure


def effective_numbers_figure(counts_by_title: Mapping[str, Sequence[int] | np.ndarray] | None = None) -> Figure:
    """Draw the number and the effective number of samples of each class, largest first; default: those of Figure 6."""
    counts_by_title = counts_by_title or {f"{name}, imbalance 50": counts for name, counts in FIGURE6_COUNTS.items()}
    figure, axes = style.panels(3.6, len(counts_by_title))
    for axis, (title, counts) in zip(axes, counts_by_title.items(), strict=True):
        axis.plot(counts, color=style.BETA_COLOURS[0.0], linewidth=4, alpha=0.5, label="samples, n")
        covered = pd.DataFrame({CURVES[beta]: effective_number(counts, beta) for beta in reversed(BETAS[1:])})
        style.draw_by_class(axis, covered, title=title, ylabel="samples n, effective number Eₙ", **LOOK)
    style.legend_below(figure, axis, 5)
    return figure


def inaturalist_counts_figure() -> Figure:
    """Draw Figure 6 for iNaturalist."""
    sets = [(TITLES[name], class_counts(name)) for name in ("inat2017", "inat2018")]
    return effective_numbers_figure({f"{name}: {n.sum():,} images, {len(n):,} classes": n for name, n in sets})
