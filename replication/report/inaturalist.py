"""iNaturalist's class counts, from the authors' lists, and what each beta makes of them."""

from functools import cache

import numpy as np
import pandas as pd

from replication.report import paper
from replication.report.large_scale_tables import TITLES
from replication.report.writing import Table
from replication.theory.effective_number import class_balanced_weights, effective_number
from replication.training.experiment import BETAS


@cache
def class_counts(dataset: str) -> np.ndarray:
    """Training images of each class of inat2017 or inat2018, largest first, from the authors' lists: (C,) int64."""
    frame = paper.published("inaturalist_counts").query("dataset == @dataset")
    if not len(frame):
        raise ValueError(f"dataset must be inat2017 or inat2018, got {dataset!r}")
    return np.repeat(frame["images_per_class"], frame["classes"]).to_numpy()[::-1]


def weights_table() -> Table:
    """What each beta does to iNaturalist: effective numbers and weights of the largest and smallest class."""
    rows = []
    for dataset in ("inat2017", "inat2018"):
        counts = class_counts(dataset)
        for beta in BETAS[1:]:
            effective, weights = effective_number(counts, beta), class_balanced_weights(counts, beta)
            rows.append(
                dict(
                    dataset=dataset,
                    beta=beta,
                    largest=int(counts[0]),
                    smallest=int(counts[-1]),
                    effective_largest=effective[0],
                    effective_smallest=effective[-1],
                    weight_largest=weights[0],
                    weight_smallest=weights[-1],
                    ratio=weights[-1] / weights[0],
                    average_weight=float(np.average(weights, weights=counts)),
                )
            )
    data = pd.DataFrame(rows)
    shown = data.assign(
        dataset=data["dataset"].map(TITLES), **{c: data[c].map(lambda v: f"{v:.2f}") for c in data.columns[4:]}
    )
    text = "Largest and smallest class: images, effective number, weight (scaled to sum to C); average over images."
    shown.columns = [c.replace("_", " ") for c in shown.columns]
    return Table("inaturalist_weights", "Class-balanced weights on iNaturalist", text, shown.astype(str), data)
