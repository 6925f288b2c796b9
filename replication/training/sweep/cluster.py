"""Run experiments as Ray tasks, here or on a cluster; images and progress go through Ray, the driver writes records."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from filelock import Timeout

import replication
from replication.experiments.experiment import Experiment
from replication.training.loop import HISTORY_SEPARATOR, git_state
from replication.training.one_run import RunOptions, existing_record, lock, write_record
from replication.training.sweep.driver import Event, run_all
from replication.training.sweep.progress import Progress, totals
from replication.training.sweep.task import DeviceLost, load_once, outcome_of, train_one

POLL = 0.5  # seconds between looks at the progress queue
CONNECT_SECONDS = 10.0  # seconds to wait until somebody answers at the address
ANSWER_SECONDS = 60.0  # seconds to wait until it answers as Ray
PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); ray.shutdown()"


def run_on_ray(
    todo: list[Experiment],
    options: RunOptions,
    workers: int,
    progress: Progress,
    address: str | None = None,
    gpus_per_run: float = 0.0,
) -> None:
    """Run every experiment as a Ray task, at most `workers` at once; one whose worker dies is tried again.

    The driver holds each run's lock and writes its record.  Images go through Ray's object store, so nodes need no
    data.  Checkpoints are under `options.results` on the node of the run, and another node can resume from them only
    if that is a shared file system.  A run takes `options.threads` CPUs (default 1) and `gpus_per_run` GPUs.

    Args:
        address: "auto" or HOST:PORT of a cluster that is up; None starts Ray on this machine and stops it at the end.

    Raises:
        ValueError: Ray is not installed, gpus_per_run is negative, the cluster does not answer, or no node has what
            a run needs.
        Exception: an error that is not the fault of one run alone, such as OSError for a full disk.
    """
    ray = _ray()
    if not gpus_per_run >= 0:
        raise ValueError(f"gpus_per_run must be a number >= 0, got {gpus_per_run!r}")
    threads = options.threads or 1
    options = replace(options, threads=threads, results=options.results.absolute())
    if not gpus_per_run and options.device == "auto":  # Ray does not hide a node's GPUs from a task that asked for none
        options = replace(options, device="cpu")
    try:
        _connect(ray, address, workers * threads)
        needed = dict(CPU=options.threads, GPU=gpus_per_run)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(kind, 0) >= n for kind, n in needed.items()) for node in nodes):
            wanted = " and ".join(f"{n:g} {kind}" for kind, n in needed.items() if n)
            raise ValueError(
                f"threads and gpus_per_run must fit one node of the cluster: none has {wanted} for one run"
            )
        ray_options = dict(num_cpus=options.threads, num_gpus=gpus_per_run, max_retries=0)
        run_all(todo, _Tasks(ray, options, ray_options), workers, progress, options.over)
    finally:
        ray.shutdown()


def _ray():
    try:
        import ray.util.queue
    except ImportError as error:
        raise ValueError(
            "engine must be local unless Ray is installed: pip install 'class-balanced-replication[cluster]'"
        ) from error
    return ray


def _connect(ray, address: str | None, cpus: int) -> None:
    keywords = dict(log_to_driver=False, logging_level="ERROR")
    try:
        if address not in (None, "auto"):
            _check_answers(address)
        if address is None:  # "local": do not join a running cluster
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **keywords)
        else:  # the nodes run this code, whatever they have installed
            _check_is_ray(address)
            ray.init(address=address, runtime_env=dict(py_modules=[replication]), **keywords)
    except Exception as error:  # Ray raises bare Exceptions if its own processes do not start in time
        raise ValueError(
            "address must be auto or HOST:PORT of a Ray cluster that is up, or be left out where Ray starts on this "
            f"machine; got {address!r}: {error}"
        ) from error


def _check_answers(address: str) -> None:
    """Raise ValueError unless something answers at HOST:PORT; Ray itself would wait for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("it names no port")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(f"nobody answers there within {CONNECT_SECONDS:g} s ({error})") from error


def _check_is_ray(address: str) -> None:
    """Raise OSError unless a process of its own can connect; in this one, Ray's wait for an answer would not end."""
    command = [sys.executable, "-c", PROBE, address]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"what is there does not answer as Ray within {ANSWER_SECONDS:g} s") from error
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


class _Tasks:
    """The running tasks, each with its experiment and its lock, and the queue of their progress."""

    def __init__(self, ray, options: RunOptions, ray_options: dict):
        self.ray, self.options = ray, options
        self.task = ray.remote(**ray_options)(_run)
        self.queue = ray.util.queue.Queue(actor_options=dict(num_cpus=0))
        self.images: dict[str, Any] = {}  # in Ray's object store, by data set
        self.flying: dict[Any, tuple[Experiment, Any]] = {}

    def busy(self) -> int:
        return len(self.flying)

    def start(self, experiment: Experiment) -> tuple | None:
        """Lock an experiment and submit it, unless it is done or another process is running it."""
        held = lock(experiment, self.options)
        try:
            held.acquire()
        except Timeout:
            return ("elsewhere",)
        record = existing_record(experiment, self.options)
        if record:
            held.release()
            return "kept", record
        if experiment.dataset not in self.images:
            self.images[experiment.dataset] = self.ray.put(load_once(experiment.dataset, self.options.data_root))
        task = self.task.remote(experiment, self.options, self.images[experiment.dataset], self.queue)
        self.flying[task] = experiment, held
        return None

    def events(self) -> Iterator[Event]:
        done, _ = self.ray.wait(list(self.flying), timeout=POLL)
        for experiment, news in self.queue.get_nowait_batch(self.queue.qsize()):
            yield "progress", experiment, news
        for task in done:
            yield self._end(task)

    def _end(self, task) -> Event:
        """Take a task's result and write its record, or report that its worker died."""
        experiment, held = self.flying.pop(task)
        kinds = self.ray.exceptions
        try:
            result = self.ray.get(task)
            if isinstance(result, tuple):
                return "outcome", experiment, result
            return "outcome", experiment, write_record(_with_commit(result), self.options)
        except (kinds.WorkerCrashedError, kinds.NodeDiedError, kinds.OutOfMemoryError) as death:
            return "died", experiment, f"its worker died ({type(death).__name__})"
        finally:
            held.release()

    def stop(self) -> None:
        for task, (_, held) in self.flying.items():
            self.ray.cancel(task, force=True)
            held.release()


def _with_commit(record):
    """Add the driver's commit if the worker ran a copy of the package that git does not track."""
    commit, clean = git_state()
    if record.git_clean is not None or commit is None:
        return record
    before = record.git_commit.split(HISTORY_SEPARATOR) if record.git_commit else []
    return replace(record, git_commit=HISTORY_SEPARATOR.join(dict.fromkeys([*before, commit])), git_clean=clean)


def _run(experiment: Experiment, options: RunOptions, data, queue):
    """Run the task; return a record, or (outcome, None, reason) if there is none."""

    def tell(news: int | dict) -> None:
        queue.actor.put_nowait.remote((experiment, news))  # does not wait for the driver's machine

    try:
        return outcome_of(lambda: train_one(experiment, options, totals(tell, every=POLL), data, evaluated=tell))
    except DeviceLost:
        os._exit(1)  # the driver tries the run again, in another process
