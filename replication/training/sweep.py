"""Many experiments: what is done already is kept, the rest runs here, in worker processes or on a Ray cluster."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from replication.data.long_tail import long_tailed_counts
from replication.data.sources import load
from replication.training.checkpoint import set_aside
from replication.training.experiment import Experiment
from replication.training.progress import Progress, totals
from replication.training.records import PRECISIONS, RunRecord, read_record, record_path

ATTEMPTS = 3  # of a run whose worker process dies
RUN_ERRORS = (RuntimeError, ValueError, ArithmeticError)  # end one run; anything else ends the sweep

load_once = functools.lru_cache(maxsize=2)(load)


class DeviceLost(OSError):
    """A GPU that is lost to this process; another process may have it again."""


def device_is_lost(error: Exception) -> bool:
    """Whether a GPU of this process answers no more, as after an illegal access: no later run could use it either."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)  # out of memory has other words


@dataclass(frozen=True)
class Where:
    """What a run needs beside its experiment: where images come from, where records go, and on what it runs."""

    results: Path
    data_root: Path | None = None
    device: str = "auto"
    threads: int | None = None  # None: torch's own choice
    deterministic: bool = False
    compiled: bool | None = None
    checkpoint_every: int = 2  # epochs
    precision: str | None = None

    def runs(self, experiment: Experiment) -> Path:
        """RESULTS/<profile>/runs, the folder of an experiment's record."""
        return self.results / experiment.profile / "runs"


def existing_record(
    experiment: Experiment, where: Where, record_class: type[RunRecord] = RunRecord
) -> RunRecord | None:
    """The record of an experiment if it is there; a file in its place that cannot be used is set aside."""
    path = record_path(experiment, where.runs(experiment))
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
    where: Where,
    progress: Callable[[int], object] | None = None,
    *,
    train: Callable[..., RunRecord] | None = None,
    record_class: type[RunRecord] = RunRecord,
) -> tuple[str, RunRecord | None]:
    """Run one experiment unless its record is there: ("kept" | "finished" | "diverged" | "elsewhere", its record).

    Holds a lock that dies with this process, so that two sweeps on one results folder never do one run twice
    ("elsewhere": another process is at it).  A checkpoint is taken up, and deleted once the record is written.
    `train(experiment, where, progress)` gives a `record_class`; the default is the CIFAR protocol.
    """
    try:
        with lock(experiment, where):
            record = existing_record(experiment, where, record_class)
            if record:
                return "kept", record
            return keep((train or train_one)(experiment, where, progress), where)
    except Timeout:
        return "elsewhere", None


def lock(experiment: Experiment, where: Where) -> FileLock:
    """The lock of an experiment; entering it raises filelock.Timeout at once where another process holds it."""
    folder = where.runs(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f".{experiment.name}.lock", timeout=0)


def keep(record: RunRecord, where: Where) -> tuple[str, RunRecord]:
    """Write a record, then delete the checkpoint that it makes useless; returns (its status, it)."""
    record.write(where.runs(record.experiment))
    checkpoint_path(record.experiment, where).unlink(missing_ok=True)
    return record.status, record


def checkpoint_path(experiment: Experiment, where: Where) -> Path:
    """RESULTS/<profile>/checkpoints/<name>.pt"""
    return where.runs(experiment).parent / "checkpoints" / f"{experiment.name}.pt"


def train_one(experiment: Experiment, where: Where, progress=None, data=None) -> RunRecord:
    """Train an experiment from its checkpoint, without a look at the records; `data` is loaded where not given."""
    import torch

    from replication.training.run import train

    if where.threads:
        torch.set_num_threads(where.threads)
    return train(
        experiment,
        data or load_once(experiment.dataset, where.data_root),
        device=where.device,
        checkpoint_path=checkpoint_path(experiment, where),
        checkpoint_every=where.checkpoint_every,
        compiled=where.compiled,
        deterministic=where.deterministic,
        precision=where.precision,
        progress=progress,
    )


def attempt(experiment: Experiment, where: Where, progress) -> tuple[str, RunRecord | None, str | None]:
    """run_one, with an error of this one run as an outcome; raised is what ends all.

    Such are a full disk, a folder that cannot be written, and a GPU that is lost to this process.
    """
    try:
        return *run_one(experiment, where, progress), None
    except RUN_ERRORS as error:
        if device_is_lost(error):
            raise DeviceLost(f"the GPU is lost to this process; the same command goes on ({error})") from error
        return "failed", None, f"{type(error).__name__}: {error}"


def sweep(
    experiments: Iterable[Experiment], where: Where, *, workers: int = 1, engine: str = "local", **cluster
) -> Counter:
    """Run every experiment whose record is not there yet, with a progress bar; how many ended how.

    Args:
        experiments: what to run, in this order.
        where: data, results and device.
        workers: runs at once; on this machine the CPU threads are divided between them.
        engine: "local", or "ray" (then `cluster`: address, gpus_per_run, see `replication.training.cluster`).

    Returns:
        A Counter with the keys kept, finished, diverged (now or before), elsewhere and failed (a worker died ATTEMPTS
        times, or an error ended the run; it is printed).

    Raises:
        ValueError: workers < 1, an unknown engine, data that cannot be used, or a record there of another folder's.
    """
    if workers < 1:
        raise ValueError(f"workers must be a whole number >= 1, got {workers!r}")
    if engine not in ("local", "ray"):
        raise ValueError(f"engine must be local or ray, got {engine!r}")
    experiments = list(dict.fromkeys(experiments))
    records = {e: existing_record(e, where) for e in experiments}
    todo = [e for e, record in records.items() if record is None]
    for experiment, record in records.items():
        if record and experiment.dataset == "folder":
            check_same_images(record, load_once("folder", where.data_root)[0].fingerprint)
    outcomes = Counter("diverged" if r.status == "diverged" else "kept" for r in records.values() if r)
    wanted = PRECISIONS.get(where.precision)
    others = sum(1 for record in records.values() if wanted and record and record.precision != wanted)
    if others:
        tqdm.write(f"{others} there already in another precision than {wanted}: kept; other results hold a second one")
    if not todo:
        return outcomes
    with Progress({e: _images(e, where) for e in todo}, outcomes) as progress:
        if engine == "ray":
            from replication.training.cluster import run_on_ray

            run_on_ray(todo, where, workers, progress, progress.report, **cluster)
        elif workers == 1:
            for experiment in todo:
                progress.report(
                    experiment, *attempt(experiment, where, totals(functools.partial(progress, experiment)))
                )
        else:
            from replication.training.workers import run_in_workers

            run_in_workers(todo, where, workers, progress, progress.report)
    return outcomes


def _images(experiment: Experiment, where: Where) -> int:
    """Images that a run trains on, over all epochs."""
    train, _ = load_once(experiment.dataset, where.data_root)
    counts = long_tailed_counts(min(train.class_counts), len(train.class_names), experiment.imbalance_factor)
    return sum(counts) * experiment.epochs // experiment.batch_size * experiment.batch_size
