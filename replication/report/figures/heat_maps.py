"""Figures 8, 9 and 10: error for each loss, beta and imbalance factor, and its change from the plain loss."""

import math
from itertools import pairwise, product

import pandas as pd
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import heat_map_cells
from replication.report.analysis.profile import Profile
from replication.report.figures.style import CHANGE, POINTS, WIDTH, panels

LIMIT = 6.0  # points where the colours end: one scale for all maps, so that CIFAR-10 and CIFAR-100 compare


def published_heat_map(dataset: str) -> Figure:
    """Figure 8, 9 or 10 as printed; the title says where beta 0.9999 helps."""
    cells = paper.heat_map(dataset)
    changes = paper.difference_to_plain(cells)
    largest = changes[changes["beta"] == 0.9999]["difference"]
    helped = f"0.9999 helps in {(largest < 0).sum()} of {len(largest)} cells"
    title = f"{paper.TITLES[dataset]}, as printed (Figure {paper.FIGURES[dataset]}): {helped}"
    cells = cells.merge(changes, how="left").rename(columns={"difference": "change"}).assign(n=1)
    return _maps({title: cells}, usual=1, height=7.6, width=6.8)


def measured_heat_map(profile: Profile, dataset: str) -> Figure | None:
    """Draw the measured cells, at full protocol with the paper's at their left; return None below POINTS cells.

    Colour: class-balanced minus plain (points; blue is better), ours paired by seed.  Text: error in percent and that
    change; the number of seeds where it is not the usual one.
    """
    cells = heat_map_cells(profile, dataset)
    ours = cells.query("n > 0 and imbalance_factor > 1")
    if len(ours) < POINTS:
        return None
    usual = int(ours["n"].mode()[0])
    title = f"{paper.TITLES[dataset]}: {profile.title}, n = {usual}"
    maps = {title: ours.rename(columns={"mean": "error", "difference_mean": "change"})}
    rows = ours[["label", "beta"]].drop_duplicates()
    if profile.comparable and dataset in paper.HEAT_MAPS:  # the short study is not comparable with the paper
        printed = cells[cells["imbalance_factor"].isin(ours["imbalance_factor"])].merge(rows).assign(n=usual)
        printed = printed.rename(columns={"published": "error", "published_difference": "change"})
        maps = {f"{paper.TITLES[dataset]}: the paper": printed} | maps
    return _maps(maps, usual, 0.27 * len(rows) + 1.6, WIDTH if len(maps) == 2 else 6.4)


def _maps(maps: dict[str, pd.DataFrame], usual: int, height: float, width: float) -> Figure:
    """Draw cells (label, beta, imbalance_factor, error, change, n) by title, side by side, on the same rows."""
    figure, axes = panels(height, len(maps), width, sharey=True)
    every = pd.concat(maps)
    known, columns = set(zip(every["label"], every["beta"], strict=True)), set(every["imbalance_factor"])
    rows = [row for row in product(paper.LABELS, BETAS) if row in known]
    factors = [factor for factor in IMBALANCE_FACTORS if factor in columns]
    crowded = len(factors) * len(maps) > 6 or (len(factors) > 3 and (every["n"] != usual).any())  # by "n=3" in a cell
    for axis, (title, cells) in zip(axes, maps.items(), strict=True):
        image = _draw(axis, cells, rows, factors, usual, 6.5 if crowded else 7.5)
        axis.set_title(title)
    names = [f"{label}, {f'beta {beta:g}' if beta else 'plain'}" for label, beta in rows]
    axes[0].set_yticks(range(len(rows)), names, fontsize=8)
    figure.colorbar(image, ax=axes, label=CHANGE.replace(" (", "\n("), shrink=0.7, aspect=30, extend="both", pad=0.02)
    return figure


def _draw(axis, cells: pd.DataFrame, rows: list, factors: list, usual: int, size: float):
    """Draw one map: colours from `change`, 0 for plain cells, grey where there is no cell; return its image."""
    grid = pd.MultiIndex.from_tuples([(*row, factor) for row in rows for factor in factors])
    cells = cells.set_index(["label", "beta", "imbalance_factor"]).reindex(grid)
    colours = cells["change"].mask(grid.get_level_values(1).to_numpy() == 0, 0.0).where(cells["error"].notna())
    shape = (len(rows), len(factors))
    image = axis.imshow(colours.to_numpy(float).reshape(shape), cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    for k, cell in enumerate(cells.to_dict("records")):
        if math.isfinite(cell["error"]):
            text = f"{cell['error']:.1f}" + (f" ({cell['change']:+z.1f})" if math.isfinite(cell["change"]) else "")
            text += f" n={cell['n']:.0f}" if cell["n"] != usual else ""
            style: dict = dict(ha="center", va="center", fontsize=size, in_layout=False)  # quicker to lay out
            style["color"] = "white" if abs(cell["change"]) > 0.7 * LIMIT else "black"  # black for NaN
            axis.text(k % len(factors), k // len(factors), text, **style)
    axis.set_xticks(range(len(factors)), [f"{f:g}" for f in factors])
    axis.set(xlabel="imbalance factor", facecolor="#EEEEEE")
    axis.grid(False)
    axis.tick_params(length=0)
    for k, ((upper, _), (lower, _)) in enumerate(pairwise(rows)):
        if upper != lower:
            axis.axhline(k + 0.5, color="black", linewidth=0.8)
    return image
