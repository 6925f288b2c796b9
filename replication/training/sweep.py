"""Many experiments: what is done already is kept, the rest runs here, in worker processes or on a Ray cluster."""

import functools
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from replication.data.long_tail import long_tailed_counts
from replication.data.sources import load
from replication.training.checkpoint import set_aside
from replication.training.experiment import Experiment
from replication.training.records import RunRecord, read_record, record_path

ATTEMPTS = 3  # of a run whose worker process dies

load_once = functools.lru_cache(maxsize=2)(load)


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

    def runs(self, experiment: Experiment) -> Path:
        """RESULTS/<profile>/runs, the folder of an experiment's record."""
        return self.results / experiment.profile / "runs"


def existing_record(experiment: Experiment, where: Where, record_class: type[RunRecord] = RunRecord) -> RunRecord | None:
    """The record of an experiment if it is there; a file in its place that cannot be used is set aside."""
    path = record_path(experiment, where.runs(experiment))
    if not path.exists():
        return None
    try:
        return read_record(path, record_class)
    except ValueError as error:
        set_aside(path, f"record cannot be used ({error})")
        return None


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
    folder = where.runs(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{experiment.name}.lock", timeout=0):
            record = existing_record(experiment, where, record_class)
            if record:
                return "kept", record
            record = (train or _train)(experiment, where, progress)
            record.write(folder)
            checkpoint_path(experiment, where).unlink(missing_ok=True)
            return record.status, record
    except Timeout:
        return "elsewhere", None


def checkpoint_path(experiment: Experiment, where: Where) -> Path:
    """RESULTS/<profile>/checkpoints/<name>.pt"""
    return where.runs(experiment).parent / "checkpoints" / f"{experiment.name}.pt"


def _train(experiment: Experiment, where: Where, progress) -> RunRecord:
    import torch

    from replication.training.run import train

    if where.threads:
        torch.set_num_threads(where.threads)
    return train(
        experiment,
        load_once(experiment.dataset, where.data_root),
        device=where.device,
        checkpoint_path=checkpoint_path(experiment, where),
        checkpoint_every=where.checkpoint_every,
        compiled=where.compiled,
        deterministic=where.deterministic,
        progress=progress,
    )


def sweep(
    experiments: Iterable[Experiment], where: Where, *, workers: int = 1, engine: str = "local", **cluster
) -> Counter:
    """Run every experiment whose record is not there yet, with a progress bar; how many ended how.

    Args:
        experiments: what to run, in this order.
        where: data, results and device.
        workers: processes that run at once on this machine; the CPU threads are divided between them.
        engine: "local", or "ray" (then `cluster`: address, gpus_per_run, see `replication.training.cluster`).

    Returns:
        A Counter with the keys kept, finished, diverged, elsewhere and failed (a worker died ATTEMPTS times, or an
        error ended the run; it is printed).

    Raises:
        ValueError: workers < 1, an unknown engine, or data that cannot be used.
    """
    if workers < 1:
        raise ValueError(f"workers must be a whole number >= 1, got {workers!r}")
    if engine not in ("local", "ray"):
        raise ValueError(f"engine must be local or ray, got {engine!r}")
    experiments = list(dict.fromkeys(experiments))
    todo = [e for e in experiments if existing_record(e, where) is None]
    outcomes = Counter(kept=len(experiments) - len(todo))
    if not todo:
        return outcomes
    with tqdm(total=sum(_images(e, where) for e in todo), unit="img", unit_scale=True, smoothing=0.1) as bar:
        report = functools.partial(report_run, bar, outcomes, len(todo))
        report(None)
        if engine == "ray":
            from replication.training.cluster import run_on_ray

            run_on_ray(todo, where, workers, bar.update, report, **cluster)
        elif workers == 1:
            for experiment in todo:
                report(experiment, *_attempt(experiment, where, bar.update))
        else:
            _run_in_processes(todo, where, workers, bar.update, report)
    return outcomes


def _images(experiment: Experiment, where: Where) -> int:
    """Images that a run trains on, over all epochs."""
    train, _ = load_once(experiment.dataset, where.data_root)
    counts = long_tailed_counts(min(train.class_counts), len(train.class_names), experiment.imbalance_factor)
    return sum(counts) * experiment.epochs // experiment.batch_size * experiment.batch_size


def report_run(bar, outcomes: Counter, total: int, experiment, outcome="", record=None, error=None) -> None:
    """Count how a run ended, say so, and put the number of runs done beside the progress bar."""
    if experiment is not None:
        outcomes[outcome] += 1
        detail = f"{record.error:.2f} % error, {record.wall_seconds:.0f} s" if record and record.error is not None else error
        tqdm.write(f"{outcome}: {experiment.name}" + (f" ({detail})" if detail else ""))
    done = sum(outcomes[k] for k in ("finished", "diverged", "elsewhere", "failed"))
    bar.set_description(f"{done}/{total} runs")


def _attempt(experiment: Experiment, where: Where, progress) -> tuple[str, RunRecord | None, str | None]:
    """run_one, with an error of this one run as an outcome; a full disk or a folder that cannot be written ends all."""
    try:
        return *run_one(experiment, where, progress), None
    except (RuntimeError, ValueError, ArithmeticError) as error:
        return "failed", None, f"{type(error).__name__}: {error}"


def _run_in_processes(todo, where: Where, workers: int, progress, report) -> None:
    """A pool of processes; one that dies takes the pool with it, so it is made anew and the lost runs go on."""
    context = multiprocessing.get_context("spawn")
    threads = where.threads or max(1, (os.cpu_count() or 1) // workers)
    where = Where(**{**vars(where), "threads": threads})
    queue = context.Manager().Queue()
    counter = threading.Thread(target=lambda: [progress(n) for n in iter(queue.get, None)], daemon=True)
    counter.start()
    left, attempts = list(todo), Counter()
    while left:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(queue,)) as pool:
            try:
                _drain(pool, left, where, report)
            except BrokenProcessPool:
                tqdm.write("a worker process died; its run is taken up again from the last checkpoint")
                for experiment in left[:workers]:
                    attempts[experiment] += 1
                for experiment in [e for e in left if attempts[e] >= ATTEMPTS]:
                    left.remove(experiment)
                    report(experiment, "failed", error=f"its worker process died {ATTEMPTS} times")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise
    queue.put(None)
    counter.join()


def _drain(pool, left: list[Experiment], where: Where, report) -> None:
    """Run all that is left; an experiment leaves the list once its outcome is known."""
    futures = {pool.submit(_attempt_in_worker, e, where): e for e in left}
    while futures:
        finished, _ = wait(futures, return_when=FIRST_COMPLETED)
        for future in finished:
            outcome = future.result()
            experiment = futures.pop(future)
            left.remove(experiment)
            report(experiment, *outcome)


_queue = None


def _start_worker(queue) -> None:
    global _queue
    _queue = queue


def _attempt_in_worker(experiment: Experiment, where: Where):
    return _attempt(experiment, where, _queue.put)
