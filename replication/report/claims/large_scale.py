"""Claims S1, S2 and S3 judged from large-scale records, by rules written before there were any."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import BALANCED, COLUMNS, KEYS, SPLIT, pairs, paper_runs
from replication.report.analysis.measured import per_seed
from replication.report.analysis.published import TITLES
from replication.report.claims.published import CLOSED
from replication.report.claims.verdicts import Finding, by_interval, capped, enough_of, nothing, together

MISSING = "large-scale runs of the paper's budget"


def _capped(finding: Finding, records: pd.DataFrame | None) -> Finding:
    return capped(finding, sum(len(paper_runs(records, label, "diverged")) for label in (BALANCED, "softmax")))


def s1_runs(records: pd.DataFrame | None) -> Finding:
    """CB focal below softmax: on each data set and depth, the interval over seeds."""
    both = pairs(records)
    if not len(both):
        return _capped(nothing(MISSING), records)
    parts = {
        f"{TITLES[d]}, ResNet-{depth}": by_interval(g["difference"])
        for (d, depth), g in both.groupby(["dataset", "depth"])
    }
    needed = len(COLUMNS) * len(paper.table3().query("loss == 'Softmax'"))  # each data set at each depth
    return _capped(enough_of(together(parts), len(parts), needed, "data sets and depths of Table 3"), records)


def s2_runs(records: pd.DataFrame | None) -> Finding:
    """Points that the loss takes off ResNet-50's error, less the share CLOSED of those that depth takes off softmax's.

    A difference, not a ratio: the gap between two softmax runs can be near 0 or negative.
    """
    plain, balanced = (
        paper_runs(records, label)["error"].astype(float).unstack("depth") for label in ("softmax", BALANCED)
    )
    parts = {}
    for dataset, deeper in (("inat2017", 152), ("inat2018", 152), ("ilsvrc2012", 101)):
        if (
            {50, deeper} <= set(plain.columns)
            and 50 in balanced.columns
            and all(dataset in frame.index.get_level_values("dataset") for frame in (plain, balanced))
        ):
            rows = plain.loc[dataset].join(
                balanced.xs(dataset, level="dataset")[[50]].rename(columns={50: "balanced"}), how="inner"
            )
            excess = ((rows[50] - rows["balanced"]) - CLOSED * (rows[50] - rows[deeper])).dropna()
            parts[TITLES[dataset]] = by_interval(
                excess, f"points gained, less {CLOSED:.0%} of those that ResNet-{deeper} gains,", "above"
            )
    finding = enough_of(together(parts), len(parts), 3, "data sets") if parts else nothing(MISSING)
    return _capped(finding, records)


def s3_runs(records: pd.DataFrame | None) -> Finding:
    """Its advantage shows after 60 epochs: mean difference in epochs 61 to 90 below 0, and below that of 31 to 60."""
    balanced, plain = (paper_runs(records, label)["curve"] for label in (BALANCED, "softmax"))
    after, before = {}, {}
    for key in balanced.index.intersection(plain.index):
        first, second = (pd.DataFrame(curves[key]).set_index("epoch")["error"] for curves in (balanced, plain))
        gap = first - second
        after[key], before[key] = (
            gap[gap.index > SPLIT].mean(),
            gap[(gap.index > SPLIT / 2) & (gap.index <= SPLIT)].mean(),
        )
    if not after:
        return _capped(nothing(MISSING), records)
    late, early = (pd.Series(v).rename_axis(KEYS) for v in (after, before))
    parts = {
        "epochs 61 to 90": by_interval(per_seed(late)),
        "against epochs 31 to 60": by_interval(per_seed(late - early)),
    }
    return _capped(together(parts), records)
