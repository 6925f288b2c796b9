"""Figures 8, 9 and 10: error for each loss, beta and imbalance factor, and its change from the plain loss."""

import math

import numpy as np
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import heat_map_cells
from replication.report.analysis.profile import Profile
from replication.report.figures.style import POINTS, WIDTH

ROWS = [(label, beta) for label in paper.LABELS for beta in BETAS]
LIMIT = 6.0  # points where the colours end: one scale for all maps, so that CIFAR-10 and CIFAR-100 compare


def published_heat_map(dataset: str) -> Figure:
    """Figure 8, 9 or 10 as printed; the title says where beta 0.9999 helps."""
    cells = paper.heat_map(dataset)
    changes = paper.difference_to_plain(cells)
    largest = changes[changes["beta"] == 0.9999]["difference"]
    figure = Figure(figsize=(6.8, 7.6))
    axis = figure.subplots()
    grids = [_grid(cells, "error", ROWS, IMBALANCE_FACTORS), _grid(changes, "difference", ROWS, IMBALANCE_FACTORS)]
    image = _draw(axis, ROWS, IMBALANCE_FACTORS, *grids)
    helped = f"0.9999 helps in {(largest < 0).sum()} of {len(largest)} cells"
    axis.set_title(f"{paper.TITLES[dataset]}, as printed (Figure {paper.FIGURES[dataset]}): {helped}")
    _label_rows(axis, ROWS)
    _colour_bar(figure, image, [axis])
    return figure


def measured_heat_map(profile: Profile, dataset: str) -> Figure | None:
    """Draw the measured cells, at full protocol with the paper's at their left; return None below POINTS cells.

    Colour: class-balanced minus plain (points; blue is better), ours paired by seed.  Text: error in percent and that
    change; the number of seeds where it is not the usual one.
    """
    cells = heat_map_cells(profile.records, dataset)
    known = cells[(cells["n"] > 0) & (cells["imbalance_factor"] > 1)]
    if len(known) < POINTS:
        return None
    measured = set(zip(known["label"], known["beta"], strict=True))
    rows = [row for row in ROWS if row in measured]
    factors = [f for f in IMBALANCE_FACTORS if f in set(known["imbalance_factor"])]
    usual = int(known["n"].mode()[0])
    ours = [_grid(known, c, rows, factors) for c in ("mean", "difference_mean", "n")]
    maps = [(f"{profile.title}, n = {usual}", ours)]
    if profile.name == "paper" and dataset in paper.HEAT_MAPS:  # the short study is not comparable with the paper
        printed = [_grid(cells, c, rows, factors) for c in ("published", "published_difference")]
        maps.insert(0, ("the paper", printed))
    figure = Figure(figsize=(WIDTH if len(maps) == 2 else 6.4, 0.27 * len(rows) + 1.6))
    axes = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    for axis, (title, grids) in zip(axes, maps, strict=True):
        image = _draw(axis, rows, factors, *grids, usual=usual)
        axis.set_title(f"{paper.TITLES[dataset]}: {title}", fontsize=10)
    _label_rows(axes[0], rows)
    _colour_bar(figure, image, list(axes))
    return figure


def _grid(cells, column: str, rows, factors) -> np.ndarray:
    values = cells.set_index(["label", "beta", "imbalance_factor"])[column]
    table = [[values.get((*row, factor), math.nan) for factor in factors] for row in rows]
    return np.array(table, dtype=float)  # (rows, factors)


def _draw(axis, rows, factors, errors, changes, seeds=None, *, usual: int = 1):
    """Errors, changes and seeds: arrays (rows, factors), NaN where a cell is not there."""
    plain = np.array([beta == 0 for _, beta in rows])
    colours = np.where(plain[:, None] & np.isfinite(errors), 0.0, changes)
    image = axis.imshow(colours, cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    axis.set_facecolor("#EEEEEE")
    size = 7.5 if len(factors) * (1 if seeds is None else 2) <= 6 else 6.5
    for i, j in zip(*np.nonzero(np.isfinite(errors)), strict=True):
        text = f"{errors[i, j]:.1f}"
        text += f" ({changes[i, j]:+z.1f})" if math.isfinite(changes[i, j]) else ""
        text += f" n={seeds[i, j]:.0f}" if seeds is not None and seeds[i, j] != usual else ""
        dark = abs(changes[i, j]) > 0.7 * LIMIT  # False for NaN
        colour = "white" if dark else "black"  # the text lies within the axes: layout can leave it out, and is quicker
        axis.text(j, i, text, ha="center", va="center", fontsize=size, color=colour, in_layout=False)
    axis.set_xticks(range(len(factors)), [f"{f:g}" for f in factors])
    axis.set_xlabel("imbalance factor")
    axis.grid(False)
    axis.tick_params(length=0)
    for k in range(1, len(rows)):
        if rows[k][0] != rows[k - 1][0]:
            axis.axhline(k - 0.5, color="black", linewidth=0.8)
    return image


def _label_rows(axis, rows) -> None:
    names = [f"{label}, {f'beta {beta:g}' if beta else 'plain'}" for label, beta in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=8)


def _colour_bar(figure, image, axes) -> None:
    label = "change in error, points (minus is better)"
    figure.colorbar(image, ax=axes, label=label, shrink=0.7, aspect=30, extend="both", pad=0.02)
