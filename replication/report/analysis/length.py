"""How the change in error depends on the length of training: ResNet-8, softmax, imbalance 100 (plan C)."""

import pandas as pd

from replication.report.analysis.measured import finished, reference
from replication.report.analysis.profile import Profile
from replication.report.analysis.published import TABLE2_SETS
from replication.report.analysis.statistics import paired

COLUMNS = ["dataset", "epochs", "beta", "plain", "balanced", "change", "sd", "n", "low", "high", "detectable"]
BETA = 0.9999


def length_of_training(profiles: dict[str, Profile]) -> pd.DataFrame:
    """Return class-balanced (0.9999) minus plain after 30, 100 and 200 epochs, paired by seed, and the mean errors.

    30 epochs are the profile cpu, 100 and 200 the profile length.  A row per data set and number of epochs measured.
    """
    rows = []
    frames = [profiles[name].records for name in ("cpu", "length") if name in profiles]
    for frame in map(reference, frames):
        runs = finished(frame).query("label == 'softmax' and imbalance_factor == 100")
        for (dataset, epochs), group in runs[runs["dataset"].isin(TABLE2_SETS)].groupby(["dataset", "epochs"]):
            wide = group.pivot_table(index=["seed", "precision"], columns="beta", values="error")
            if not {0.0, BETA} <= set(wide):
                continue
            wide = wide[[0.0, BETA]].dropna()
            c = paired(wide[0.0], wide[BETA])
            means = dict(plain=wide[0.0].mean(), balanced=wide[BETA].mean())
            rows.append(dict(dataset=dataset, epochs=epochs, beta=BETA, change=c.mean) | means | c._asdict())
    return pd.DataFrame(rows, columns=COLUMNS)
