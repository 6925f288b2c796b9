"""Figures 8, 9 and 10: error for each loss, beta and imbalance factor, the difference to plain in each cell."""

import math

import numpy as np
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import heat_map_cells

ROWS = [(label, beta) for label in paper.LABELS for beta in BETAS]


def _grid(cells, column: str, factors) -> np.ndarray:
    values = cells.set_index(["label", "beta", "imbalance_factor"])[column]
    return np.array([[values.get((*row, f), math.nan) for f in factors] for row in ROWS], dtype=float)  # (25, factors)


def _draw(axis, limit: float, factors, title: str, errors, differences, counts=None, paired=None, lost=None):
    """Colours end at `limit`.  From `errors` on arrays (25, factors); seeds, pairs and diverged runs for ours alone."""
    plain = np.array([beta == 0 for _, beta in ROWS])
    colours = np.where(plain[:, None] & np.isfinite(errors), 0.0, differences)
    image = axis.imshow(colours, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_facecolor("#E4E4E4")
    inside = dict(ha="center", va="center", in_layout=False)
    for i, j in np.ndindex(errors.shape):
        if not math.isfinite(errors[i, j]):
            gone = lost is not None and lost[i, j] > 0
            axis.text(j, i, "diverged" if gone else "not measured", **inside, fontsize=6, color="#808080")
            continue
        text = f"{errors[i, j]:.2f}"
        if math.isfinite(differences[i, j]):
            few = paired is not None and paired[i, j] != counts[i, j]
            text += f"  ({differences[i, j]:+.2f}{f', n={paired[i, j]:.0f}' if few else ''})"
        if counts is not None:
            text += f"  n={counts[i, j]:.0f}"
        dark = abs(differences[i, j]) > 0.7 * limit  # False for NaN
        axis.text(j, i, text, **inside, fontsize=6.5, color="white" if dark else "black")
    axis.set_xticks(range(len(factors)), [f"{f:g}" for f in factors])
    axis.set_xlabel("imbalance factor")
    axis.set_title(title)
    axis.grid(False)
    axis.tick_params(length=0)
    for edge in range(len(BETAS), len(ROWS), len(BETAS)):
        axis.axhline(edge - 0.5, color="black", linewidth=0.8)
    return image


def heat_map_figure(records, dataset: str, profile: str | None = None) -> Figure | None:
    """The published heat map and, beside it, that of the records; None where neither knows the data set.

    Colour: class-balanced minus plain (points; blue is better), ours paired by seed, on one scale for both maps.
    Text: error (percent), the difference in brackets, and for ours the number of seeds.  `records` may be None: the
    published map alone.
    """
    measured = records is not None and bool((records["dataset"] == dataset).any())
    printed = dataset in paper.HEAT_MAPS
    if not (measured or printed):
        return None
    maps = []  # (factors, title, grids)
    if printed:
        cells = paper.heat_map(dataset)
        against = paper.difference_to_plain(cells)
        grids = [_grid(cells, "error", IMBALANCE_FACTORS), _grid(against, "difference", IMBALANCE_FACTORS)]
        maps.append((IMBALANCE_FACTORS, f"paper, Figure {paper.FIGURES[dataset]}: {paper.TITLES[dataset]}", grids))
    if measured:
        cells = heat_map_cells(records, dataset)
        factors = [f for f in sorted(set(cells["imbalance_factor"]), reverse=True) if f > 1]
        grids = [_grid(cells, c, factors) for c in ("mean", "difference_mean", "n", "difference_n", "diverged")]
        maps.append((factors, f"measured, profile {profile}: {paper.TITLES[dataset]}", grids))
    limit = max([1, *(math.ceil(abs(d)) for *_, grids in maps for d in grids[1].flat if math.isfinite(d))])
    figure = Figure(figsize=(6.2 * len(maps), 7.6))
    axes = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    for axis, (factors, title, grids) in zip(axes, maps, strict=True):
        image = _draw(axis, limit, factors, title, *grids)
    axes[0].set_yticks(
        range(len(ROWS)), [f"{label}, {'plain' if b == 0 else f'beta {b:g}'}" for label, b in ROWS], fontsize=8
    )
    figure.colorbar(image, ax=list(axes), label="class-balanced minus plain (points)", shrink=0.5, aspect=30)
    return figure
