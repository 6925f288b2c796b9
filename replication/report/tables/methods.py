"""Which method today, on the same seeds; and how the change depends on the length of training."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.length import length_of_training
from replication.report.analysis.methods import methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS
from replication.report.claims.finding import interval_word
from replication.report.tables.table import Table, budget, captioned, change, number, spread


def methods_table(profile: Profile) -> Table:
    """Methods at imbalance 100 that are measured: error, paired change, error by shot group, cost, the literature."""
    data = methods(profile).query("n > 0")
    rows = []
    for r in data.to_dict("records"):
        low, high, n = r["change_low"], r["change_high"], r["change_n"]
        printed = (number(r["published_low"], 1), number(r["published_high"], 1))
        rows.append(
            {
                "data set": paper.TITLES[r["dataset"]],
                "method": r["method"],
                "error": spread(r),
                "change": change(r["change"], low, high, n),
                "word": interval_word(low, high, int(n), SEEDS) if n > 0 else "-",
                "head / medium / tail": " / ".join(number(r[group], 1) for group in ("many", "medium", "few")),
                "literature": " to ".join(dict.fromkeys(printed)),
                "cost": r["cost"],
            }
        )
    shown = pd.DataFrame(rows)
    if profile.name != "paper":  # sizes of other budgets differ
        shown = shown.drop(columns="literature", errors="ignore")
    facts = dict(budget=budget(profile, profile.records[profile.records["imbalance_factor"] == 100]))
    return captioned("methods", shown, data, profile.name, **facts)


def length_table(profiles: dict[str, Profile]) -> Table:
    """Class-balanced minus plain after 30, 100 and 200 epochs of ResNet-8, imbalance 100."""
    data = length_of_training(profiles)
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "epochs": r["epochs"],
            "plain": number(r["plain"]),
            f"class-balanced {r['beta']:g}": number(r["balanced"]),
            "change": spread(r | {"mean": r["change"]}, sign=True),
            "could be shown": number(r["detectable"]),
        }
        for r in data.to_dict("records")
    ]
    return captioned("length_of_training", pd.DataFrame(rows), data)
