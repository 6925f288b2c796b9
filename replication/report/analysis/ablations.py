"""Change one switch at a time: what part of the change is re-balancing, and what each porting slip costs.

Every run with a switch changed is paired with the reference run of its seed: same subset, initial weights, batches
(unless the switch changes them) and precision.  All differences are changes in last-epoch error, in points; minus is
better.
"""

import pandas as pd

from replication.report.analysis.measured import finished, off_protocol, reference
from replication.report.analysis.statistics import detectable_effect, paired, summary

WORDS = {
    ("reduction", "weighted_mean"): "divided by the batch's sum of weights, as torch does",
    ("weights", "uniform_scaled"): "no re-balancing, the loss times the same average weight",
    ("drop_factor", "0.1"): "learning rate divided by 10 in place of 100",
    ("shortcut", "subsample"): "shortcut takes every other pixel in place of the 2x2 average",
    ("shuffle", "buffered"): "the authors' buffered shuffle in place of an i.i.d. one",
    ("last_bias", "zero"): "last bias 0 in place of -log(C - 1)",
}
PAIR = ["dataset", "label", "imbalance_factor", "beta", "seed", "precision"]
COLUMNS = ["dataset", "label", "imbalance_factor", "beta", "switch", "value", "words"]
STATISTICS = ["mean", "sd", "n", "low", "high", "detectable", "across"]


def changed(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that differ from the paper's protocol in one switch, with `switch` and `value` (as text)."""
    switched = off_protocol(records)
    one = records[switched.sum(axis=1) == 1]
    switch = switched.loc[one.index].idxmax(axis=1) if len(one) else pd.Series(dtype=object)
    return one.assign(switch=switch, value=[str(one.at[index, name]) for index, name in switch.items()])


def ablations(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per switch and cell: the changed run's error minus the paper protocol's error, paired by seed.

    Deferred re-weighting is a method of its own and not among them.

    `detectable` is the smallest effect that so many seeds of this spread show with 80 % power; `across` counts the
    pairs that ran on two kinds of hardware.
    """
    done = finished(changed(records)).query("switch != 'reweight_from'")
    base = finished(reference(records)).set_index(PAIR)[["error", "device"]].add_prefix("other_")
    both, rows = done.join(base, on=PAIR, how="inner") if len(done) else done, []
    for key, group in both.groupby(COLUMNS[:-1]):
        head = dict(zip(COLUMNS, [*key, WORDS.get(key[4:], f"{key[4]} = {key[5]}")], strict=True))
        difference = paired(group["other_error"], group["error"])._asdict()
        across = int((group["device"] != group["other_device"]).sum())
        rows.append(head | difference | {"across": across})
    return pd.DataFrame(rows, columns=[*COLUMNS, *STATISTICS])


CORNERS = {  # weights of the classes and scale of the loss, crossed: how `ablations` names the run
    "plain, full scale": "reference at beta 0",
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
    imbalance_factor, beta, part (a corner: error in percent; a contrast: change in points), mean, sd, n, low, high,
    detectable.
    """
    cell, rows = ["dataset", "label", "imbalance_factor"], []
    done, base = finished(changed(records)), finished(reference(records))
    for key, group in done[done["value"] == "uniform_scaled"].groupby([*cell, "beta"]):
        here = [frame[(frame[cell] == list(key[:3])).all(axis=1)] for frame in (base, done, group, base)]
        here[0] = here[0][here[0]["beta"] == 0]
        here[1] = here[1][(here[1]["value"] == "weighted_mean") & (here[1]["beta"] == key[3])]
        here[3] = here[3][here[3]["beta"] == key[3]]
        table = pd.concat([f.set_index(["seed", "precision"])["error"] for f in here], axis=1, keys=CORNERS).dropna()
        values = {name: table[name] for name in CORNERS} | {name: table @ c for name, c in CONTRASTS.items()}
        for part, numbers in values.items():
            s = summary(numbers)
            found = {"part": part, **s._asdict()}
            if part in CONTRASTS:
                found["detectable"] = detectable_effect(s.sd, s.n)
            rows.append(dict(zip([*cell, "beta"], key, strict=True)) | found)
    columns = [*cell, "beta", "part", "mean", "sd", "n", "low", "high", "detectable"]
    return pd.DataFrame(rows, columns=columns)
