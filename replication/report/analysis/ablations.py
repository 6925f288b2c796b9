"""One switch changed at a time: what part of the gain is re-balancing, and what each porting slip costs.

Every control run is paired with the reference run of its seed: same subset, initial weights, batches (where the switch
leaves them alone), and precision; how many pairs ran on two kinds of hardware is told.  Differences are in points of
last-epoch error; positive is worse.
"""

import pandas as pd

from replication.report.analysis.measured import away, finished, pairs, reference
from replication.report.analysis.statistics import paired

WORDS = {
    ("reduction", "weighted_mean"): "divided by the batch's sum of weights, as torch does",
    ("weights", "uniform_scaled"): "no re-balancing, the loss times the same average weight",
    ("drop_factor", "0.1"): "learning rate dropped by 0.1 in place of 0.01",
    ("shortcut", "subsample"): "shortcut takes every other pixel in place of the 2x2 average",
    ("shuffle", "buffered"): "the authors' buffered shuffle in place of an i.i.d. one",
    ("last_bias", "zero"): "last bias 0 in place of -log(C - 1)",
}
PAIR = ["dataset", "label", "imbalance_factor", "beta", "seed", "precision"]
COLUMNS = ["dataset", "label", "imbalance_factor", "beta", "switch", "value", "words", "against"]
STATISTICS = ["mean", "sd", "n", "low", "high", "p_sign", "p_permutation", "across"]  # across: pairs on two machines


def changed(records: pd.DataFrame) -> pd.DataFrame:
    """The runs with exactly one switch away from the paper's, with `switch` and `value` (as text)."""
    switched = away(records)
    one = records[switched.sum(axis=1) == 1]
    switch = switched.loc[one.index].idxmax(axis=1) if len(one) else pd.Series(dtype=object)
    return one.assign(switch=switch, value=[str(one.at[index, name]) for index, name in switch.items()])


def controls(records: pd.DataFrame) -> pd.DataFrame:
    """One row per control and a thing it is set against: the error of both, and their paired difference.

    `against` is "the paper's protocol" (same loss and beta, no switch changed) or "plain loss" (for class-balanced
    controls: what is left of the gain over the plain loss).
    """
    done, base = finished(changed(records)), finished(reference(records))
    if not len(done) or not len(base):
        return pd.DataFrame(columns=[*COLUMNS, "control", "other", *STATISTICS])
    partners = {
        "the paper's protocol": (PAIR, base),
        "plain loss": ([k for k in PAIR if k != "beta"], base[base["beta"] == 0]),
    }
    rows = []
    for key, group in done.groupby(["dataset", "label", "imbalance_factor", "beta", "switch", "value"]):
        for against, (on, other) in partners.items():
            if against == "plain loss" and key[3] == 0:
                continue
            both = group.join(other.set_index(on)[["error", "device"]].add_prefix("other_"), on=on, how="inner")
            if len(both):
                words = WORDS.get(key[4:6], f"{key[4]} = {key[5]}")
                means = {"control": both["error"].mean(), "other": both["other_error"].mean()}
                head = dict(zip(COLUMNS, [*key, words, against], strict=True))
                across = {"across": int((both["device"] != both["other_device"]).sum())}
                rows.append(head | means | paired(both["other_error"], both["error"])._asdict() | across)
    return pd.DataFrame(rows, columns=[*COLUMNS, "control", "other", *STATISTICS])


def parts_of_the_gain(records: pd.DataFrame) -> pd.DataFrame:
    """The gain of the class-balanced loss over the plain one, and its two parts, paired by seed (points).

    gain = plain - class_balanced; `step` = plain - uniform_scaled, what the smaller loss gives alone, at the same
    weight decay; `re-balancing` = uniform_scaled - class_balanced, what the weights between classes add to it.
    """
    both = pairs(records)
    scaled = finished(changed(records)).query("switch == 'weights' and value == 'uniform_scaled'")
    columns = ["dataset", "label", "imbalance_factor", "beta", "part", *STATISTICS]
    if not len(both) or not len(scaled):
        return pd.DataFrame(columns=columns)
    rows = []
    other = scaled.set_index(PAIR)[["error", "device"]].rename(columns={"error": "scaled", "device": "scaled_device"})
    parts = {
        "gain": ("class_balanced", "plain"),
        "step": ("scaled", "plain"),
        "re-balancing": ("class_balanced", "scaled"),
    }
    for key, g in both.join(other, on=PAIR, how="inner").groupby(["dataset", "label", "imbalance_factor", "beta"]):
        for part, (a, b) in parts.items():
            across = {"across": int((g[f"{a}_device"] != g[f"{b}_device"]).sum())}
            rows.append(dict(zip(columns, [*key, part], strict=False)) | paired(g[a], g[b])._asdict() | across)
    return pd.DataFrame(rows, columns=columns)
