"""The tables that the paper does not have: what print says of beta, selection bias, ablations."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis import selection
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS, expected_minimum
from replication.report.tables.table import Table, across, budget, captioned, change, interval, number, signed, spread


def improvements_table() -> Table:
    """From the printed heat maps: at each beta, how many of 25 cells improve, and the mean change by imbalance."""
    keys = ["dataset", "beta"]
    changes = selection.difference_by_imbalance().pivot(
        index=keys, columns="imbalance_factor", values="mean_difference"
    )
    data = selection.improvements().merge(changes.rename(columns="at_{:g}".format).reset_index(), on=keys)
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "beta": f"{r['beta']:g}",
            "cells that improve": f"{r['improved']} of {r['of']}",
            "mean change": signed(r["mean_difference"]),
        }
        | {f"at {factor:g}": signed(r[f"at_{factor:g}"]) for factor in reversed(changes.columns)}
        for r in data.to_dict("records")
    ]
    return captioned("published_improvements", pd.DataFrame(rows), data)


def published_bias_table() -> Table:
    """How much the choice of the best of 20 gains by itself in each column of the printed heat maps."""
    data = selection.published_selection_bias()
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "imbalance": f"{r['imbalance_factor']:g}",
            "noise sd": number(r["sd"]),
            "best of 20 minus best plain": signed(r["change"]),
            "bias of the best of 20": number(r["bias"]) + interval(r["bias_low"], r["bias_high"]),
            "bias over best of 5 plain": number(r["bias_over_plain"]),
            "change at the fixed beta": f"{signed(r['fixed_change'])} ({r['fixed_beta']:g})",
        }
        for r in data.to_dict("records")
    ]
    sd, freedom = selection.rerun_sd()
    facts = dict(sd=sd, freedom=freedom, alike=-expected_minimum(20))
    return captioned("published_selection_bias", pd.DataFrame(rows), data, **facts)


def bias_table(profile: Profile) -> Table:
    """The same from our seed-to-seed spread, and the choice of one seed read on the other seeds."""
    data = profile.selection_bias.query("k > 1")
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "imbalance": f"{r['imbalance_factor']:g}",
            "cells": r["k"],
            "sd of a run": number(r["sd"]),
            "bias of the best": number(r["bias"]),
            "best of one seed, on the others": signed(r["shrinkage"]),
            "change at the fixed beta": change(r["fixed_change"], r["fixed_low"], r["fixed_high"], r["fixed_n"])
            + f", beta {r['fixed_beta']:g}",
        }
        for r in data.to_dict("records")
    ]
    facts = dict(budget=budget(profile, profile.reference), seeds=SEEDS)
    return captioned("selection_bias", pd.DataFrame(rows), data, profile.name, **facts)


def ablations_table(profile: Profile) -> Table:
    """One switch changed at a time, against the paper's protocol, with the smallest effect that could be shown."""
    data = profile.ablations
    rows = [
        {
            "what is changed": r["words"],
            "loss": _loss(r),
            "change in error": spread(r, sign=True),
            "could be shown": number(r["detectable"]),
        }
        for r in data.to_dict("records")
    ]
    facts = dict(budget=budget(profile), across=across(data))
    return captioned("ablations", pd.DataFrame(rows), data, profile.name, **facts)


def scale_table(profile: Profile) -> Table:
    """Weights between classes and scale of the loss, crossed: four cells, their contrasts and the interaction."""
    data = profile.scale_by_weights
    contrast = ~data["part"].str.contains("full scale$|small scale$") | data["part"].str.startswith("balancing")
    rows = [
        {"loss": _loss(r), "part": r["part"], "error": "-", "change": "-"}
        | {"change" if is_contrast else "error": spread(r, sign=is_contrast)}
        for r, is_contrast in zip(data.to_dict("records"), contrast, strict=True)
    ]
    return captioned("scale_by_weights", pd.DataFrame(rows), data, profile.name, budget=budget(profile))


def _loss(r: dict) -> str:
    beta = f"beta {r['beta']:g}" if r["beta"] else "plain"
    return f"{r['label']}, {beta}, imbalance {r['imbalance_factor']:g}"
