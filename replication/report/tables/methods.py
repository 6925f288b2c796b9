"""Which method today, on the same seeds; and how the change depends on the length of training."""

from replication.report.analysis.comparison import length_of_training
from replication.report.analysis.methods import IMBALANCE, methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS
from replication.report.claims.finding import interval_word
from replication.report.tables.table import Table, budget, captioned


def methods_table(profile: Profile) -> Table:
    """Methods at imbalance 100 that are measured: error, paired change, error by shot group, cost, the literature."""
    own = budget(profile, profile.records[profile.records["imbalance_factor"] == IMBALANCE])
    data = methods(profile).query("n > 0")
    made = captioned("methods", data, profile.name, budget=own, word=interval_word, seeds=SEEDS)
    return made if profile.name == "paper" else made.without("literature")  # sizes of other budgets differ


def short_methods_table(profile: Profile) -> Table:
    """The same without spreads, words and cost."""
    return captioned("short_methods", methods(profile).query("n > 0"), profile.name)


def length_table(profiles: dict[str, Profile]) -> Table:
    """Class-balanced minus plain after 30, 100 and 200 epochs of ResNet-8, imbalance 100."""
    return captioned("length_of_training", length_of_training(profiles))
