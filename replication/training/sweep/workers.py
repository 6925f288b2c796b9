"""Runs in worker processes of this machine; one that dies is replaced, and its run goes on from the checkpoint."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from joblib import cpu_count
from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.training.one_run import RunOptions
from replication.training.sweep.progress import totals
from replication.training.sweep.task import ATTEMPTS, DeviceLost, attempt

CONTEXT = multiprocessing.get_context("spawn")  # torch's threads and CUDA do not survive a fork


def run_in_workers(
    todo: list[Experiment],
    options: RunOptions,
    workers: int,
    progress: Callable[[Experiment, int], object],
    report: Callable[..., object],
) -> None:
    """Run every experiment in one of `workers` processes, which divide CPU threads and GPUs between them.

    A worker that dies is replaced; its run is taken up again, and is "failed" once ATTEMPTS workers died of it.  The
    workers die with this process.  `progress` and `report` are those of `replication.training.sweep.progress.Progress`.

    Raises:
        Exception: what a run raised, where it is no fault of that run alone (OSError: a full disk, say).
    """
    options = replace(options, threads=options.threads or max(1, cpu_count() // workers))
    left, attempts = deque(todo), Counter()
    crew = {}  # connection -> its worker
    try:
        while left or crew:
            while left and len(crew) < workers:
                slot = min(set(range(workers)) - {worker.slot for worker in crew.values()})
                worker = _Worker(options, slot)
                crew[worker.connection] = worker
                worker.take(left)
            for connection in wait(list(crew)):
                worker = crew[connection]
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    crew.pop(connection).stop()
                    _retry(worker, left, attempts, report)
                    continue
                if kind == "progress":
                    progress(worker.experiment, content)
                elif kind == "error":
                    raise content
                else:
                    report(worker.experiment, *content)
                    if not worker.take(left):
                        crew.pop(connection).stop()
    finally:
        for worker in crew.values():
            worker.stop()


def _retry(worker: "_Worker", left: deque, attempts: Counter, report) -> None:
    attempts[worker.experiment] += 1
    died = f"its worker process died ({worker.cause()})"
    if attempts[worker.experiment] >= ATTEMPTS:
        report(worker.experiment, "failed", None, f"{died}, {ATTEMPTS} times")
    else:
        tqdm.write(f"again: {worker.experiment.name} ({died}; it goes on from its last checkpoint)")
        left.appendleft(worker.experiment)


class _Worker:
    """A process and the end of a pipe to it; it runs `experiment`, and is number `slot` of those at work."""

    def __init__(self, options: RunOptions, slot: int):
        self.slot = slot
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(theirs, options, slot), daemon=True)
        self.process.start()
        theirs.close()  # else a worker's death would not close the pipe

    def take(self, left: deque) -> bool:
        """Send the next experiment, if there is one."""
        if left:
            self.experiment = left.popleft()
            with contextlib.suppress(OSError):  # it is dead already: the next recv says so
                self.connection.send(self.experiment)
            return True
        return False

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def cause(self) -> str:
        code = self.process.exitcode
        return signal.Signals(-code).name if code and code < 0 else f"exit code {code}"


def _own_device(device: str, slot: int) -> str:
    """The GPU of a worker where there are several and none was named: they take turns."""
    import torch

    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{slot % gpus}" if gpus > 1 else device


def _work(connection: Connection, options: RunOptions, slot: int) -> None:
    """The life of a worker: experiment in; progress and outcome out; ends when the other end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent ends its workers
    options = replace(options, device=_own_device(options.device, slot))
    try:
        while True:
            experiment = connection.recv()
            tell = functools.partial(_tell, connection)
            try:
                outcome = attempt(experiment, options, totals(tell))
            except BrokenPipeError:
                return  # the parent is gone
            except DeviceLost as error:
                tqdm.write(str(error))
                os._exit(1)  # replaced, and its run taken up again, as where it had died
            except Exception as error:
                _send_error(connection, error)
                continue
            connection.send(("outcome", outcome))
    except (EOFError, OSError):
        return


def _send_error(connection: Connection, error: Exception) -> None:
    """The error, or one of its words where it cannot be pickled, or not taken out again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(("error", error))


def _tell(connection: Connection, images: int) -> None:
    connection.send(("progress", images))
