"""Change one switch at a time: what part of the change is re-balancing, and what each porting slip costs.

Every run with a switch changed is paired with the reference run of its seed: same subset, initial weights, batches
(unless the switch changes them) and precision.  All differences are changes in last-epoch error, in points; minus is
better.
"""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.measured import finished, off_protocol, paired, paired_summaries, reference, summaries

WORDS = paper.table("analysis/switches", dtype=str).set_index(["switch", "value"])["words"].to_dict()
CELL = ["dataset", "label", "imbalance_factor", "beta"]
PAIR = [*CELL, "seed", "precision"]


def changed(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that differ from the paper's protocol in one switch, with `switch` and `value` (as text)."""
    switched = off_protocol(records)
    one = records[switched.sum(axis=1) == 1]
    switch = switched.loc[one.index].idxmax(axis=1) if len(one) else pd.Series(dtype=object)
    return one.assign(switch=switch, value=[str(one.at[index, name]) for index, name in switch.items()])


def ablations(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per switch and cell: the changed run's error minus the paper protocol's error, paired by seed.

    Deferred re-weighting is a method of its own and not among them.  For the columns see `paired_summaries`.
    """
    done = finished(changed(records)).query("switch != 'reweight_from'")
    both = paired(done, finished(reference(records))[[*PAIR, "error", "device"]], PAIR)
    rows = paired_summaries(both, [*CELL, "switch", "value"])
    words = [WORDS.get(key, " = ".join(key)) for key in zip(rows["switch"], rows["value"], strict=True)]
    rows.insert(len(CELL) + 2, "words", pd.Series(words, dtype=object))
    return rows


CORNERS = {  # weights of the classes crossed with the scale of the loss: the runs that have them
    "plain, full scale": "plain",
    "balanced, full scale": "weighted_mean",
    "plain, small scale": "uniform_scaled",
    "balanced, small scale": "reference",
}
CONTRASTS = {  # coefficients of the four corners
    "balancing at full scale": (-1, 1, 0, 0),
    "balancing at small scale": (0, 0, -1, 1),
    "smaller scale, plain": (-1, 0, 1, 0),
    "smaller scale, balanced": (0, -1, 0, 1),
    "interaction": (-1, 1, 1, -1),
}


def scale_by_weights(records: pd.DataFrame) -> pd.DataFrame:
    """Compute the 2 x 2 of scale and weights, its simple effects and interaction, by seed, for each complete cell.

    Class-balanced weights do two things: they differ between classes, and they make the loss smaller.  torch's
    weighted mean undoes the second, uniform weights of the same average undo the first.  Columns: dataset, label,
    imbalance_factor, beta, part (a corner: error in percent; a contrast: change in points) and those of a summary.
    """
    base = finished(reference(records))
    runs = pd.concat([base.assign(value="reference"), finished(changed(records))])
    corners = runs.pivot_table(index=PAIR, columns="value", values="error").reindex(columns=CORNERS.values())
    plain = base[base["beta"] == 0].set_index([name for name in PAIR if name != "beta"])["error"]
    corners = corners.drop(columns="plain").join(plain.rename("plain"), on=plain.index.names).dropna()
    table = corners[list(CORNERS.values())].set_axis(list(CORNERS), axis=1)
    contrasts = table @ pd.DataFrame(CONTRASTS, index=CORNERS)
    parts = table.join(contrasts).reset_index().melt(CELL, [*CORNERS, *CONTRASTS], "part")
    parts["part"] = pd.Categorical(parts["part"], [*CORNERS, *CONTRASTS])
    found = summaries(parts, [*CELL, "part"], "value")
    return found.assign(detectable=found["detectable"].where(found["part"].isin(CONTRASTS)))
