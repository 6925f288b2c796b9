"""Run many experiments at once in one process, each in a thread and CUDA stream of its own, to fill one GPU.

The queue is the list of experiments in the order given, the most important first.  A thread takes the next one that
can start and that can still end before the time limit.  Without CUDA the threads share the processor.
"""

import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import torch

from replication.experiments.experiment import Experiment
from replication.training.device import cuda_switches, own_stream, pick_device
from replication.training.loop import OutOfTime
from replication.training.one_run import RunOptions, checkpoint_path, start_path
from replication.training.sweep.progress import Progress
from replication.training.sweep.task import attempt, load_once

MARGIN = 0.9  # share of the rate so far that is counted on, because the last few runs do not fill the GPU
POLL = 0.2  # seconds between checks of the threads, so that Ctrl-C and a kill are noticed


def run_in_streams(todo: list[Experiment], options: RunOptions, workers: int, progress: Progress) -> None:
    """Run every experiment that can end in time, `workers` at once; those that come first are the most important.

    At the time limit, at Ctrl-C and after an error that is not the fault of one run alone, each run stops at its next
    evaluation, with a checkpoint.  On the CPU, where that may take long, Ctrl-C and such an error stop it at its
    next step, and it later resumes from the checkpoint that it has.

    Raises:
        Exception: an error that is not the fault of one run alone, such as OSError for a full disk.
    """
    device = pick_device(options.device)
    for dataset in dict.fromkeys(e.dataset for e in todo):
        load_once(dataset, options.data_root)  # once, before the threads need it
    crew = _Crew(todo, options, progress)
    with cuda_switches(device, options.deterministic), ThreadPoolExecutor(workers) as pool:
        lives = [pool.submit(crew.work, device) for _ in range(workers)]
        try:
            ended, at_work = wait(lives, 0)
            while at_work and not any(life.exception() for life in ended):
                ended, at_work = wait(lives, POLL, FIRST_EXCEPTION)
        finally:
            crew.stop.set()
    for life in lives:
        life.result()


class _Crew:
    """The queue and the state of the runs at work; its methods may be called from any thread."""

    def __init__(self, todo: list[Experiment], options: RunOptions, progress: Progress):
        self.left, self.options, self.progress, self.images = deque(todo), options, progress, progress.images
        self.stop, self.guard = threading.Event(), threading.Lock()
        self.rate = _Rate()
        self.remaining: dict[Experiment, int] = {}  # images still to come, of each run at work

    def over(self) -> bool:
        return self.stop.is_set() or self.options.over()

    def work(self, device: torch.device) -> None:
        """Take experiments and run them, in one thread, until none is left or the time is up."""
        on_cuda = device.type == "cuda"
        with own_stream(device):
            while not self.over():
                if experiment := self._take():
                    self._run(experiment, on_cuda)
                elif self._waiting():
                    time.sleep(POLL)
                else:
                    return

    def _run(self, experiment: Experiment, on_cuda: bool) -> None:
        total, trained_before = 0, self._goes_on(experiment)

        def tell(images: int) -> None:
            nonlocal total, trained_before
            if self.stop.is_set() and not on_cuda:  # on CUDA this is called at evaluations only: a checkpoint follows
                raise OutOfTime("interrupted; it goes on from its last checkpoint")
            total += images
            with self.guard:
                self.remaining[experiment] = self.images[experiment] - total
                if not trained_before:
                    self.rate.add(images)
                trained_before = False  # a resumed run first reports what it had trained on before
                self.progress(experiment, total)

        def evaluated(point: dict) -> None:
            with self.guard:
                self.progress(experiment, point)

        try:
            outcome = attempt(experiment, self.options, tell, self.over, evaluated)
            with self.guard:
                self.progress.report(experiment, *outcome)
        finally:
            with self.guard:
                self.remaining.pop(experiment, None)

    def _take(self) -> Experiment | None:
        """Take the most important experiment that can start now and end in time."""
        with self.guard:
            for experiment in self.left:
                if self._can_start(experiment) and self._fits(experiment):
                    self.left.remove(experiment)
                    self.remaining[experiment] = self._images_to_come(experiment)
                    return experiment
        return None

    def _waiting(self) -> bool:
        """Whether a remaining experiment can start once a run at work has come far enough."""
        with self.guard:
            at_work = self.remaining
            return any(e.shared_start() in at_work and not self._can_start(e) and self._fits(e) for e in self.left)

    def _can_start(self, experiment: Experiment) -> bool:
        """Whether an experiment can start; a deferred run waits for its plain run's state, if that is due."""
        plain = experiment.shared_start()
        if plain is None or self._starts_from_file(experiment):
            return True
        return plain not in self.left and plain not in self.remaining

    def _starts_from_file(self, experiment: Experiment) -> bool:
        start = start_path(experiment, self.options)
        return start is not None and start.exists()

    def _goes_on(self, experiment: Experiment) -> bool:
        """Whether a run has a checkpoint, or another run's state, to start from."""
        return checkpoint_path(experiment, self.options).exists() or self._starts_from_file(experiment)

    def _images_to_come(self, experiment: Experiment) -> int:
        """Return the images that a run still trains on; a run with a checkpoint is counted in full, to be safe.

        A deferred run that has to wait is counted from the state that the plain run will leave.
        """
        waits = not self._can_start(experiment)
        if waits or (self._starts_from_file(experiment) and not checkpoint_path(experiment, self.options).exists()):
            return round(self.images[experiment] * (1 - experiment.reweight_from))
        return self.images[experiment]

    def _fits(self, experiment: Experiment) -> bool:
        """Whether a run can end in time beside those at work; one that cannot is not started, to leave them the GPU."""
        deadline, rate = self.options.deadline, self.rate.now()
        if deadline is None or not rate:
            return True
        to_come = self._images_to_come(experiment) + sum(self.remaining.values())
        return to_come <= MARGIN * rate * (deadline - time.time())


class _Rate:
    """Images per second of all runs together, measured from the first report on."""

    def __init__(self):
        self.trained: int = 0
        self.began: float | None = None

    def add(self, images: int) -> None:
        """Count images; the first report starts the clock, so its own images do not count."""
        if self.began is None:
            self.began = time.monotonic()
        else:
            self.trained += images

    def now(self) -> float:
        """Return the rate, 0 before it is known."""
        seconds = time.monotonic() - self.began if self.began is not None else 0.0
        return self.trained / seconds if seconds else 0.0
