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
    """What a run needs beside its experiment: where images come from, where records go, and on what it runs."""

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
    deadline: float | None = None  # time.time() after which no run goes on
    concurrent_runs: int = 1  # runs that share the device
    journal: Path | None = None  # a file that gets each finished record as a line
    keep_starts: frozenset[Experiment] = frozenset()  # deferred runs: the plain run of each keeps the state they need

    def over(self) -> bool:
        """Whether the time limit is reached."""
        return self.deadline is not None and time.time() >= self.deadline

    def runs(self, experiment: Experiment) -> Path:
        """RESULTS/<profile>/runs, the folder of an experiment's record."""
        return self.results / experiment.profile / "runs"


def existing_record(
    experiment: Experiment, options: RunOptions, record_class: type[RunRecord] = RunRecord
) -> RunRecord | None:
    """The record of an experiment if it is there; a file in its place that cannot be used is set aside."""
    path = record_path(experiment, options.runs(experiment))
    if not path.exists():
        return None
    try:
        return read_record(path, record_class)
    except ValueError as error:
        set_aside(path, f"record cannot be used ({error})")
        return None


def check_same_images(record: RunRecord, fingerprint: str) -> None:
    """Whether a record is of the training images at hand, which an experiment on a folder of one's own does not tell.

    fingerprint: theirs; of large scale it is that of their names and classes.

    Raises:
        ValueError: it is of others.
    """
    if record.dataset_fingerprint != fingerprint:
        raise ValueError(
            f"data_root must hold the training images that {record.experiment.name} ran on (fingerprint "
            f"{record.dataset_fingerprint}), got others ({fingerprint}): give these another --results"
        )


def run_one(
    experiment: Experiment,
    options: RunOptions,
    progress: Callable[[int], object] | None = None,
    *,
    train: Callable[..., RunRecord],
    record_class: type[RunRecord] = RunRecord,
) -> tuple[str, RunRecord | None]:
    """Run one experiment unless its record is there; return ("kept" | "finished" | "diverged" | "elsewhere", record).

    Holds a lock that dies with this process, so that two sweeps on one results folder never do one run twice
    ("elsewhere": another process is at it).  A checkpoint is taken up, and deleted once the record is written.
    `train(experiment, options, progress)` gives a `record_class`.
    """
    try:
        with lock(experiment, options):
            record = existing_record(experiment, options, record_class)
            if record:
                return "kept", record
            return write_record(train(experiment, options, progress), options)
    except Timeout:
        return "elsewhere", None


def lock(experiment: Experiment, options: RunOptions):
    """The lock of an experiment; entering it raises filelock.Timeout at once where another process holds it."""
    folder = options.runs(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    return run_lock(folder / f".{experiment.name}.lock")


def write_record(record: RunRecord, options: RunOptions) -> tuple[str, RunRecord]:
    """Write a record, then delete the checkpoint that it makes useless; returns (its status, it).

    The caller holds the run's lock, so that temporary files beside these two are those of killed writers.
    """
    if options.journal:
        append_to_journal(options.journal, record)
    path, checkpoint = record.write(options.runs(record.experiment)), checkpoint_path(record.experiment, options)
    checkpoint.unlink(missing_ok=True)
    for file in (path, checkpoint):
        remove_leftovers(file)
    return record.status, record


def start_path(experiment: Experiment, options: RunOptions) -> Path | None:
    """RESULTS/<profile>/checkpoints/<name>.epoch<e>.start of the plain run that a deferred run starts from."""
    plain = experiment.shared_start()
    if plain is None:
        return None
    return checkpoint_path(plain, options).with_name(f"{plain.name}.epoch{start_epoch(experiment)}.start")


def start_epoch(experiment: Experiment) -> int:
    """The last whole epoch at whose end a deferred run is still its plain run.

    >>> start_epoch(Experiment(beta=0.9999, reweight_from=0.8))
    160
    """
    return math.floor(experiment.reweight_from * experiment.epochs + 1e-9)  # 0.57 x 100 is 56.99999999999999


def checkpoint_path(experiment: Experiment, options: RunOptions) -> Path:
    """RESULTS/<profile>/checkpoints/<name>.pt"""
    return options.runs(experiment).parent / "checkpoints" / f"{experiment.name}.pt"
