"""How the change in error depends on the length of training: ResNet-8, softmax, imbalance 100 (plan C)."""

import pandas as pd

from replication.report.analysis.measured import paired_summaries
from replication.report.analysis.profile import Profile
from replication.report.analysis.published import TABLE2_SETS

KEYS = ["dataset", "epochs", "beta"]
BETA = 0.9999


def length_of_training(profiles: dict[str, Profile]) -> pd.DataFrame:
    """Return class-balanced (0.9999) minus plain after 30, 100 and 200 epochs, paired by seed, and the mean errors.

    30 epochs are the profile cpu, 100 and 200 the profile length.  A row per data set and number of epochs measured.
    """
    studies = [profiles[name].pairs for name in ("cpu", "length") if name in profiles]
    if not studies:
        return pd.DataFrame()
    both = pd.concat(studies).query("label == 'softmax' and imbalance_factor == 100 and beta == @BETA")
    both = both[both["dataset"].isin(TABLE2_SETS)]
    means = both.groupby(KEYS, as_index=False)[["plain", "class_balanced"]].mean()
    changes = means.merge(paired_summaries(both, KEYS).drop(columns="across"), on=KEYS)
    return changes.rename(columns={"class_balanced": "balanced", "mean": "change"})
