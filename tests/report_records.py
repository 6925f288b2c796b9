"""Synthetic records for the tests of the report: written by RunRecord itself, into a temporary folder."""

from replication.data.long_tail import long_tailed_counts
from replication.experiments.experiment import PROFILES, Experiment
from replication.experiments.records import RunRecord

MACHINE = dict(device="cpu (test)", threads=1, precision="float32", compiled=False, images_per_second=500.0)
VERSIONS = dict(torch_version="2.14.1", package_version="0.1.0", git_commit=None, git_clean=None)
IMAGES = dict(dataset_fingerprint="0" * 16, subset_fingerprint="1" * 16)
SIZES = {"digits": (150, 10), "cifar20": (2500, 20), "cifar100": (500, 100)}  # largest class, classes


def record(error=30.0, profile="cpu", curve=None, status="finished", per_class=None, wall_seconds=360.0, **fields):
    """A record of `profile`'s budget with that last-epoch error and a plausible curve."""
    experiment = Experiment(**PROFILES[profile] | fields)
    largest, classes = SIZES.get(experiment.dataset, (5000, 10))
    counts = long_tailed_counts(largest, classes, experiment.imbalance_factor)
    last = experiment.epochs
    if curve is None:
        rates = {e: 0.1 if e < 0.8 * last else 0.1 * experiment.drop_factor for e in range(2, last + 1, 2)}
        curve = [
            dict(epoch=e, learning_rate=rate, training_loss=2.0 / e, error=error + 40.0 / e - 40.0 / last)
            for e, rate in rates.items()
        ]
    errors = dict(error=error if status == "finished" else None, best_error=error, best_epoch=last - last % 2)
    return RunRecord(
        experiment,
        status,
        error_per_class=per_class or [error + 10 * i / classes - 4.5 for i in range(classes)],
        class_names=[f"class {i}" for i in range(classes)],
        class_counts=counts,
        curve=curve,
        wall_seconds=wall_seconds,
        finished_at="2026-01-01T00:00:00+00:00",
        **errors | MACHINE | VERSIONS | IMAGES,
    )


def write(folder, profile, records):
    """Write them under FOLDER/PROFILE/runs; returns FOLDER."""
    for one in records:
        one.write(folder / profile / "runs")
    return folder
