"""The tables that the paper does not have: beta in print, selection bias, ablations, methods, length, statements."""

import pandas as pd

from replication.report.analysis import selection
from replication.report.analysis.ablations import CONTRASTS
from replication.report.analysis.comparison import length_of_training
from replication.report.analysis.methods import IMBALANCE, methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS, expected_minimum
from replication.report.claims.finding import WORDS, interval_word, sentence
from replication.report.claims.statements import Statement
from replication.report.tables.table import CAPTIONS, Table, across, budget, captioned, rendered


def improvements_table() -> Table:
    """From the printed heat maps: at each beta, how many of 25 cells improve, and the mean change by imbalance."""
    keys = ["dataset", "beta"]
    changes = selection.difference_by_imbalance().set_index([*keys, "imbalance_factor"])["mean_difference"]
    at_each = changes.unstack().rename(columns="at_{:g}".format).reset_index()
    return captioned("published_improvements", selection.improvements().merge(at_each, on=keys))


def published_bias_table() -> Table:
    """How much the choice of the best of 20 gains by itself in each column of the printed heat maps."""
    sd, freedom = selection.rerun_sd()
    facts: dict = dict(sd=sd, freedom=freedom, alike=-expected_minimum(20))
    return captioned("published_selection_bias", selection.published_selection_bias(), **facts)


def choice_table() -> Table:
    """From the printed numbers, by data set: gain of the best of 20, how much is chance, gain of one fixed beta."""
    groups = selection.published_selection_bias().groupby("dataset", sort=False)
    data = groups.agg(
        lowest=("change", "min"),
        highest=("change", "max"),
        bias=("bias_over_plain", "max"),
        fixed_lowest=("fixed_change", "min"),
        fixed_highest=("fixed_change", "max"),
        beta=("fixed_beta", "first"),
    )
    return captioned("choice", data.reset_index())


def bias_table(profile: Profile) -> Table:
    """The same from our seed-to-seed spread, and the choice of one seed read on the other seeds."""
    facts = dict(budget=budget(profile, profile.reference), seeds=SEEDS)
    return captioned("selection_bias", profile.selection_bias.query("k > 1"), profile.name, **facts)


def ablations_table(profile: Profile) -> Table:
    """One switch changed at a time, against the paper's protocol, with the smallest effect that could be shown."""
    facts = dict(budget=budget(profile), across=across(profile.ablations))
    return captioned("ablations", profile.ablations, profile.name, **facts)


def scale_table(profile: Profile) -> Table:
    """Weights between classes and scale of the loss, crossed: four cells, their contrasts and the interaction."""
    facts = dict(budget=budget(profile), contrasts=CONTRASTS)
    return captioned("scale_by_weights", profile.scale_by_weights, profile.name, **facts)


def methods_table(profile: Profile) -> Table:
    """Methods at imbalance 100 that are measured: error, paired change, error by shot group, cost, the literature."""
    own = budget(profile, profile.records[profile.records["imbalance_factor"] == IMBALANCE])
    data = methods(profile).query("n > 0")
    made = captioned("methods", data, profile.name, budget=own, word=interval_word, seeds=SEEDS)
    return made if profile.comparable else made.without("literature")  # sizes of other budgets differ


def short_methods_table(profile: Profile) -> Table:
    """Methods at imbalance 100 for the front page: without spreads, words and cost."""
    return captioned("short_methods", methods(profile).query("n > 0"), profile.name)


def length_table(profiles: dict[str, Profile]) -> Table:
    """Class-balanced minus plain after 30, 100 and 200 epochs of ResNet-8, imbalance 100."""
    return captioned("length_of_training", length_of_training(profiles), "length")


def claims_table(statements: tuple[Statement, ...]) -> Table:
    """One row a statement: its bottom line, and one column for each kind of evidence."""
    rows = [
        {"id": s.id, "place": s.place, "topic": s.topic, "statement": s.text, "bottom line": s.bottom_line}
        | {kind: s.words.get(kind, "") for kind in WORDS}
        for s in statements
    ]
    data = pd.DataFrame(rows)
    return captioned("statements", data, shown=data.rename(columns={"bottom line": "what the evidence says"}))


def findings_markdown(statements: tuple[Statement, ...]) -> str:
    """When the rules were fixed, and every statement with the findings beneath it, as nested lists."""
    lines = [rendered(CAPTIONS["statements"]["when"]), ""]
    for s in statements:
        lines += [f"- **{s.id}** ({s.place}). {s.text} {s.bottom_line}"]
        for weighing in s.weighings:
            lines += [f"  - {weighing.kind}: {weighing.word}"]
            lines += [f"    - {sentence(finding)}" for finding in weighing.findings]
    return "\n".join(lines)
