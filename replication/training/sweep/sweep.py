"""Run many experiments, except those that have a record: here, in worker processes or on a Ray cluster."""

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.experiments.records import PRECISIONS
from replication.training.one_run import RunOptions, check_same_images, existing_record
from replication.training.sweep.progress import Progress, totals
from replication.training.sweep.task import attempt, load_once

ENGINES = ("local", "streams", "ray")


def sweep(
    experiments: Iterable[Experiment], options: RunOptions, *, workers: int = 1, engine: str = "local", **cluster
) -> Counter:
    """Run every experiment that has no record yet, with a progress bar; count the outcomes.

    Args:
        experiments: what to run, in this order.
        options: data, results and device.
        workers: runs at once; on this machine the CPU threads are divided between them.
        engine: "local" (processes), "streams" (threads of this process, each with a CUDA stream, to fill one GPU),
            or "ray" (then `cluster`: address, gpus_per_run, see `replication.training.sweep.cluster`).

    Returns:
        A Counter with the keys kept (there was a record), finished, diverged (now or before), elsewhere (in another
        process), failed (a worker died ATTEMPTS times, or an error ended the run; it is printed), and, if the time
        limit of the options is reached, stopped (its checkpoint is written) and not started.

    Raises:
        ValueError: workers < 1, an unknown engine, data that cannot be used, or a record of another folder of images.
    """
    if workers < 1:
        raise ValueError(f"workers must be a whole number >= 1, got {workers!r}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    records = {e: existing_record(e, options) for e in dict.fromkeys(experiments)}
    todo = [e for e, record in records.items() if not record]
    kept = [record for record in records.values() if record]
    for record in kept:
        if record.experiment.dataset == "folder":
            check_same_images(record, load_once("folder", options.data_root)[0].fingerprint)
    outcomes = Counter("diverged" if record.status == "diverged" else "kept" for record in kept)
    wanted = PRECISIONS.get(options.precision or "")
    others = sum(1 for record in kept if wanted and record.precision != wanted)
    if others:
        tqdm.write(f"{others} there already in another precision than {wanted}: kept; other results hold a second one")
    if not todo:
        return outcomes
    deferred = frozenset(e for e in todo if e.shared_start() is not None)
    options = replace(options, concurrent_runs=workers, keep_starts=deferred)
    with Progress({e: _images(e, options) for e in todo}, outcomes) as progress:
        if engine == "streams":
            from replication.training.sweep.streams import run_in_streams

            run_in_streams(todo, options, workers, progress)
        elif engine == "ray":
            from replication.training.sweep.cluster import run_on_ray

            run_on_ray(todo, options, workers, progress, **cluster)
        elif workers == 1:
            for experiment in todo:
                if options.over():
                    break
                tell = functools.partial(progress, experiment)
                progress.report(experiment, *attempt(experiment, options, totals(tell), evaluated=tell))
        else:
            from replication.training.sweep.workers import run_in_workers

            run_in_workers(todo, options, workers, progress)
    outcomes["not started"] += len(records) - outcomes.total()
    return outcomes


def _images(experiment: Experiment, options: RunOptions) -> int:
    """Return the number of images that a run trains on, over all epochs."""
    train, _ = load_once(experiment.dataset, options.data_root)
    kept = sum(train.long_tailed_counts(experiment.imbalance_factor))
    return experiment.steps(kept) * experiment.batch_size
