"""Synthetic records for the tests of the report: written by RunRecord itself, into a temporary folder."""

from replication.data.long_tail import long_tailed_counts
from replication.experiments.experiment import PROFILES, Experiment
from replication.experiments.records import RunRecord

SIZES = {"digits": (150, 10), "cifar20": (2500, 20), "cifar100": (500, 100)}  # largest class, classes


def record(error=30.0, profile="cpu", curve=None, status="finished", per_class=None, wall_seconds=360.0, **fields):
    """A record of `profile`'s budget with that last-epoch error and a plausible curve."""
    experiment = Experiment(**PROFILES[profile] | fields)
    largest, classes = SIZES.get(experiment.dataset, (5000, 10))
    counts = long_tailed_counts(largest, classes, experiment.imbalance_factor)
    epochs = list(range(2, experiment.epochs + 1, 2))
    if curve is None:
        drop = 0.8 * experiment.epochs
        curve = [
            {"epoch": e, "learning_rate": 0.1 if e < drop else 0.1 * experiment.drop_factor,
             "training_loss": 2.0 / e, "error": error + 40.0 / e - 40.0 / experiment.epochs}
            for e in epochs
        ]  # fmt: skip
    return RunRecord(
        experiment, status, error if status == "finished" else None, error, epochs[-1],
        per_class or [error + 10 * i / classes - 4.5 for i in range(classes)], [f"class {i}" for i in range(classes)],
        counts, curve, 500.0,
        wall_seconds, "0" * 16, "1" * 16, "cpu (test)", 1, "float32", False, "2.14.1", "0.1.0", None, None,
        "2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def write(folder, profile, records):
    """Write them under FOLDER/PROFILE/runs; returns FOLDER."""
    for one in records:
        one.write(folder / profile / "runs")
    return folder
