"""The tables that the paper does not have: what print says of beta, selection bias, ablations."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis import selection
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS, expected_minimum
from replication.report.tables.table import Table, across, budget, interval, number, signed, spread

INTERVAL = "Mean ± sd (n pairs) [95 % t-interval]."


def _table(name: str, title: str, text: str, rows: list[dict], columns: list[str], data, profile=None) -> Table:
    shown = pd.DataFrame(rows, columns=columns).fillna("-")
    return Table(name, title, text.strip(), shown, data, profile and profile.name)


def _head(row: dict) -> dict:
    return {"data set": paper.TITLES[row["dataset"]], "imbalance": f"{row['imbalance_factor']:g}"}


def improvements_table() -> Table:
    """From the printed heat maps: at each beta, how many of 25 cells improve, and the mean change by imbalance."""
    data = selection.improvements()
    keys = ["dataset", "beta", "imbalance_factor"]
    by_factor = selection.difference_by_imbalance().set_index(keys)["mean_difference"]
    factors = sorted(by_factor.index.unique("imbalance_factor"), reverse=True)
    rows = [
        {"data set": paper.TITLES[r["dataset"]], "beta": f"{r['beta']:g}",
         "cells that improve": f"{r['improved']} of {r['of']}", "mean change": signed(r["mean_difference"])}
        | {f"at {f:g}": signed(by_factor[r["dataset"], r["beta"], f]) for f in factors}
        for r in data.to_dict("records")
    ]  # fmt: skip
    wide = by_factor.unstack().rename(columns=lambda f: f"at_{f:g}").reset_index()
    text = "The printed numbers of Figures 8, 9, 10: class-balanced minus plain, points, mean over five losses."
    title = "What the paper's own cells say of each beta"
    return _table("published_improvements", title, text, rows, list(rows[0]), data.merge(wide, on=["dataset", "beta"]))


def published_bias_table() -> Table:
    """How much the choice of the best of 20 gains by itself in each column of the printed heat maps."""
    data = selection.published_selection_bias()
    sd, freedom = selection.rerun_sd()
    rows = [
        _head(r) | {"noise sd": number(r["sd"]), "best of 20 minus best plain": signed(r["change"]),
                    "bias of the best of 20": number(r["bias"]) + interval(r["bias_low"], r["bias_high"]),
                    "bias over best of 5 plain": number(r["bias_over_plain"]),
                    "change at the fixed beta": f"{signed(r['fixed_change'])} ({r['fixed_beta']:g})"}
        for r in data.to_dict("records")
    ]  # fmt: skip
    text = (
        "From printed numbers alone, points. Noise sd: residual after the effects of loss and beta. Bias: how far the "
        "lowest of 20 noisy errors lies below its true mean, by parametric bootstrap around the additive fit, mean "
        f"[central 95 %]; were all 20 alike it would be sd x {-expected_minimum(20):.2f}. The gain is over the best of "
        "five plain losses, which is chosen too, so the difference of the two biases is what the choice explains. "
        "Change at the fixed beta: mean over five losses at the beta that the paper advises from these same cells. "
        f"Reruns of the authors' code give an sd of {number(sd)} points ({freedom} degrees of freedom)."
    )
    title = "How much choosing the best of 20 gains by itself, from the paper's numbers"
    return _table("published_selection_bias", title, text, rows, list(rows[0]), data)


def bias_table(profile: Profile) -> Table:
    """The same from our seed-to-seed spread, and the choice of one seed read on the other seeds."""
    data = profile.selection_bias
    data = data[data["k"] > 1]
    rows = [
        _head(r) | {"cells": r["k"], "sd of a run": number(r["sd"]), "bias of the best": number(r["bias"]),
                    "best of one seed, on the others": signed(r["shrinkage"]), "change at the fixed beta": _fixed(r)}
        for r in data.to_dict("records")
    ]  # fmt: skip
    columns = ["data set", "imbalance", "cells", "sd of a run", "bias of the best", "best of one seed, on the others"]
    text = (
        f"{budget(profile, profile.reference)} Points. Cells: the class-balanced ones with {SEEDS} seeds, or the most "
        "there are. Sd: residual standard deviation of a single run after removing cell and seed effects. Bias of the "
        "best: bootstrap of choosing the lowest of these cells on single runs. Best of one seed, on the others: how "
        "much higher the error of a seed's choice is on the other seeds. Change at the fixed beta: one value per seed."
    )
    title = "How much choosing the best cell gains by itself, from our seeds"
    return _table("selection_bias", title, text, rows, [*columns, "change at the fixed beta"], data, profile)


def _fixed(r: dict) -> str:
    bounds = interval(r["fixed_low"], r["fixed_high"])
    return f"{signed(r['fixed_change'])}{bounds} (n = {r['fixed_n']:.0f}), beta {r['fixed_beta']:g}"


def ablations_table(profile: Profile) -> Table:
    """One switch changed at a time, against the paper's protocol, with the smallest effect that could be shown."""
    data = profile.ablations
    rows = [
        {"what is changed": r["words"], "loss": _loss(r), "change in error": spread(r, sign=True),
         "could be shown": number(r["detectable"])}
        for r in data.to_dict("records")
    ]  # fmt: skip
    text = (
        f"{budget(profile)} {across(data)} Changed minus the paper's protocol, points, paired by seed; minus is "
        f"better. {INTERVAL} Could be shown: the smallest effect that n seeds of this spread show with 80 % power."
    )
    columns = ["what is changed", "loss", "change in error", "could be shown"]
    return _table("ablations", "Ablations: one switch at a time", text, rows, columns, data, profile)


def scale_table(profile: Profile) -> Table:
    """Weights between classes and scale of the loss, crossed: four cells, their contrasts and the interaction."""
    data = profile.scale_by_weights
    contrast = ~data["part"].str.contains("full scale$|small scale$") | data["part"].str.startswith("balancing")
    rows = [
        {"loss": _loss(r), "part": r["part"], "change" if c else "error": spread(r, sign=c)}
        for r, c in zip(data.to_dict("records"), contrast, strict=True)
    ]
    text = (
        f"{budget(profile)} Error in percent, change in points, minus is better. {INTERVAL} Small scale: every class "
        "at the average weight that class-balanced weights have, so a smaller loss at the same weight decay."
    )
    title = "Re-balancing or a smaller loss: the four combinations"
    return _table("scale_by_weights", title, text, rows, ["loss", "part", "error", "change"], data, profile)


def _loss(r: dict) -> str:
    beta = f"beta {r['beta']:g}" if r["beta"] else "plain"
    return f"{r['label']}, {beta}, imbalance {r['imbalance_factor']:g}"
