"""Figures 3 and 6 of the paper, and what they do not show: they follow from the formulas and the class counts alone."""

import numpy as np
from matplotlib.figure import Figure

from replication.data.long_tail import long_tailed_counts
from replication.report.style import BETA_COLOURS, THEORY_COLOUR
from replication.theory.effective_number import effective_number
from replication.training.experiment import BETAS

FIGURE6_COUNTS = {  # imbalance 50, Section 5.1
    "long-tailed CIFAR-10": long_tailed_counts(5000, 10, 50),
    "long-tailed CIFAR-100": long_tailed_counts(500, 100, 50),
}


def class_balanced_term_figure() -> Figure:
    """Figure 3: (1 - beta) / (1 - beta^n) against n, both axes logarithmic, between its limits 1 and 1 / n."""
    n = np.geomspace(1, 10_000, 400)
    figure = Figure(figsize=(5.6, 4))
    axis = figure.subplots()
    axis.loglog(n, np.ones_like(n), color=BETA_COLOURS[0.0], linestyle="--", label="β = 0: no re-weighting")
    for beta in BETAS[1:]:
        axis.loglog(n, 1 / effective_number(n, beta), color=BETA_COLOURS[beta], label=f"β = {beta}")
    axis.loglog(n, 1 / n, color=THEORY_COLOUR, linestyle=":", label="β → 1: inverse frequency, 1/n")
    axis.set(xlabel="samples of the class, n", ylabel="(1 − β) / (1 − βⁿ)", title="Class-balanced term")
    axis.legend(loc="lower left")
    return figure


def effective_numbers_figure() -> Figure:
    """Figure 6: the number and the effective number of samples of each class, logarithmic, one panel per data set."""
    figure = Figure(figsize=(10, 3.9))
    for axis, (name, counts) in zip(figure.subplots(1, 2), FIGURE6_COUNTS.items(), strict=True):
        marker = "o" if len(counts) <= 20 else None
        axis.semilogy(counts, color=THEORY_COLOUR, linestyle=":", marker=marker, markersize=4, label="samples, n")
        for beta in sorted(BETAS[1:], reverse=True):
            covered = effective_number(counts, beta)
            axis.semilogy(covered, color=BETA_COLOURS[beta], marker=marker, markersize=4, label=f"Eₙ, β = {beta}")
        axis.set(title=name, xlabel="class, head to tail", ylabel="samples", ylim=(5, 2 * max(counts)))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
