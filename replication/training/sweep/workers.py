"""Run experiments in worker processes of this machine; one that dies is replaced, and its run resumes."""

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from joblib import cpu_count
from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.training.one_run import RunOptions
from replication.training.sweep.driver import Event, run_all
from replication.training.sweep.progress import Progress, totals
from replication.training.sweep.task import DeviceLost, attempt

CONTEXT = multiprocessing.get_context("spawn")  # torch's threads and CUDA do not survive a fork


def run_in_workers(todo: list[Experiment], options: RunOptions, workers: int, progress: Progress) -> None:
    """Run every experiment in one of `workers` processes, which divide CPU threads and GPUs between them.

    A worker that dies is replaced; its run is resumed, and is "failed" once ATTEMPTS workers have died running it.  The
    workers end with this process.

    Raises:
        Exception: an error that is not the fault of one run alone, such as OSError for a full disk.
    """
    options = replace(options, threads=options.threads or max(1, cpu_count() // workers))
    run_all(todo, _Crew(options), workers, progress, options.over)


class _Crew:
    """The worker processes, by the connection to each; a worker runs one experiment after another."""

    def __init__(self, options: RunOptions):
        self.options = options
        self.working: dict[Any, _Worker] = {}
        self.idle: list[_Worker] = []

    def busy(self) -> int:
        return len(self.working)

    def start(self, experiment: Experiment) -> None:
        taken = {worker.slot for worker in self.working.values()}
        free = min(set(range(len(taken) + 1)) - taken)
        worker = self.idle.pop() if self.idle else _Worker(self.options, free)
        self.working[worker.connection] = worker
        worker.take(experiment)

    def events(self) -> Iterator[Event]:
        self._stop_idle()  # idle workers would hold on to memory
        ready: list[Any] = wait(list(self.working))
        for connection in ready:
            worker = self.working[connection]
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                self.working.pop(connection).stop()
                yield "died", worker.experiment, f"its worker process died ({worker.cause()})"
                continue
            if kind == "error":
                raise content
            if kind == "outcome":
                self.idle.append(self.working.pop(connection))
            yield kind, worker.experiment, content

    def _stop_idle(self) -> None:
        while self.idle:
            self.idle.pop().stop()

    def stop(self) -> None:
        self._stop_idle()
        for worker in self.working.values():
            worker.stop()


@contextlib.contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end; a process that is started meanwhile never gets it, not even during its imports.

    Ctrl-C reaches the whole terminal, and the sweep ends its workers itself.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it would let Ctrl-C through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """A worker process: our end of its pipe, the experiment that it runs, its number among those at work."""

    def __init__(self, options: RunOptions, slot: int):
        self.slot = slot
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(theirs, options, slot), daemon=True)
        with _ctrl_c_held():
            self.process.start()
        theirs.close()  # otherwise a worker's death would not close the pipe

    def take(self, experiment: Experiment) -> None:
        """Send an experiment, which the worker then runs."""
        self.experiment = experiment
        with contextlib.suppress(OSError):  # it is dead already, as the next recv will show
            self.connection.send(experiment)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def cause(self) -> str:
        code = self.process.exitcode
        return signal.Signals(-code).name if code and code < 0 else f"exit code {code}"


def _own_device(device: str, slot: int) -> str:
    """Return the GPU of a worker: if there are several and none was named, workers take turns."""
    import torch

    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{slot % gpus}" if gpus > 1 else device


def _work(connection: Connection, options: RunOptions, slot: int) -> None:
    """Run experiments from the pipe and send progress and outcomes, until the other end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent ends its workers
    options = replace(options, device=_own_device(options.device, slot))

    def tell(news: int | dict) -> None:
        connection.send(("progress", news))

    try:
        while True:
            experiment = connection.recv()
            try:
                outcome = attempt(experiment, options, totals(tell), evaluated=tell)
            except BrokenPipeError:
                return  # the parent has ended
            except DeviceLost as error:
                tqdm.write(str(error))
                os._exit(1)  # it is replaced and its run resumed, as if it had died
            except Exception as error:
                _send_error(connection, error)
                continue
            connection.send(("outcome", outcome))
    except (EOFError, OSError):
        return


def _send_error(connection: Connection, error: Exception) -> None:
    """Send the error, or a RuntimeError with its message if it cannot be pickled and unpickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(("error", error))
