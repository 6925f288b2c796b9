"""One run: its lock, its record and its checkpoint."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from replication.experiments.experiment import Experiment
from replication.experiments.journal import append_to_journal
from replication.experiments.records import RunRecord, read_record, record_path
from replication.files import remove_leftovers
from replication.training.checkpoint import set_aside
from replication.training.run_lock import run_lock


@dataclass(frozen=True)
class RunOptions:
    """The options of a run other than its experiment: where images come from, where records go, and the device."""

    results: Path
    data_root: Path | None = None
    device: str = "auto"
    threads: int | None = None  # None: torch's own choice
    deterministic: bool = False
    compiled: bool | None = None
    checkpoint_every: int | None = None  # epochs; None: every second on the CPU, one a minute on CUDA
    precision: str | None = None
    evaluate_every: int = 2  # epochs, before the rate drops first
    graphs: bool = True  # steps as CUDA graphs, on CUDA
    deadline: float | None = None  # time.time() after which every run stops
    concurrent_runs: int = 1  # runs that share the device
    journal: Path | None = None  # a file to which each finished record is appended
    keep_starts: frozenset[Experiment] = frozenset()  # deferred runs, for which plain runs keep a state

    def over(self) -> bool:
        """Whether the time limit is reached."""
        return self.deadline is not None and time.time() >= self.deadline

    def runs(self, experiment: Experiment) -> Path:
        """Return RESULTS/<profile>/runs, the folder of an experiment's record."""
        return self.results / experiment.profile / "runs"


def existing_record(
    experiment: Experiment, options: RunOptions, record_class: type[RunRecord] = RunRecord
) -> RunRecord | None:
    """Return the record of an experiment, or None; a file in its place that cannot be used is set aside."""
    path = record_path(experiment, options.runs(experiment))
    if not path.exists():
        return None
    try:
        return read_record(path, record_class)
    except ValueError as error:
        set_aside(path, f"record cannot be used ({error})")
        return None


def check_same_images(record: RunRecord, fingerprint: str) -> None:
    """Check that a record belongs to these training images, which the experiment does not name for a user's own folder.

    fingerprint: of the images; for large-scale runs, of their names and classes.

    Raises:
        ValueError: the record belongs to other images.
    """
    if record.dataset_fingerprint != fingerprint:
        raise ValueError(
            f"data_root must hold the training images that {record.experiment.name} ran on (fingerprint "
            f"{record.dataset_fingerprint}), got others ({fingerprint}): give these another --results"
        )


def run_one(
    experiment: Experiment, options: RunOptions, train: Callable[[Experiment, RunOptions], RunRecord]
) -> tuple[str, RunRecord | None]:
    """Run one experiment unless it has a record; return ("kept" | "finished" | "diverged" | "elsewhere", record).

    Holds a lock that dies with this process, so that two sweeps on one results folder never do one run twice
    ("elsewhere": another process is running it).  It resumes from a checkpoint, which is deleted once the record is
    written.
    """
    try:
        with lock(experiment, options):
            record = existing_record(experiment, options)
            if record:
                return "kept", record
            return write_record(train(experiment, options), options)
    except Timeout:
        return "elsewhere", None


def lock(experiment: Experiment, options: RunOptions):
    """Return the lock of an experiment; entering it raises filelock.Timeout at once if another process holds it."""
    folder = options.runs(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    return run_lock(folder / f".{experiment.name}.lock")


def write_record(record: RunRecord, options: RunOptions) -> tuple[str, RunRecord]:
    """Write a record, then delete the checkpoint that it makes useless; return (its status, the record).

    The caller holds the run's lock, so temporary files beside these two were left by killed writers.
    """
    if options.journal:
        append_to_journal(options.journal, record)
    path, checkpoint = record.write(options.runs(record.experiment)), checkpoint_path(record.experiment, options)
    checkpoint.unlink(missing_ok=True)
    for file in (path, checkpoint):
        remove_leftovers(file)
    return record.status, record


def start_path(experiment: Experiment, options: RunOptions) -> Path | None:
    """Return the file that a deferred run starts from: RESULTS/<profile>/checkpoints/<plain run>.epoch<e>.start."""
    plain = experiment.shared_start()
    if plain is None:
        return None
    return checkpoint_path(plain, options).with_name(f"{plain.name}.epoch{start_epoch(experiment)}.start")


def start_epoch(experiment: Experiment) -> int:
    """Return the last whole epoch up to which a deferred run equals its plain run.

    >>> start_epoch(Experiment(beta=0.9999, reweight_from=0.8))
    160
    """
    return math.floor(experiment.reweight_from * experiment.epochs + 1e-9)  # 0.57 x 100 is 56.99999999999999


def checkpoint_path(experiment: Experiment, options: RunOptions) -> Path:
    """RESULTS/<profile>/checkpoints/<name>.pt"""
    return options.runs(experiment).parent / "checkpoints" / f"{experiment.name}.pt"
