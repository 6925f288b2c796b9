"""The loop that worker processes and a Ray cluster share: start runs, handle their events, retry those that died."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.training.sweep.progress import Progress
from replication.training.sweep.task import ATTEMPTS

Event = tuple[str, Experiment, Any]
"""("progress", run, news), ("outcome", run, arguments of `Progress.report`) or ("died", run, cause)."""


class Crew(Protocol):
    """The interface of a crew, which runs several experiments at once."""

    def busy(self) -> int:
        """Return how many runs are at work."""

    def start(self, experiment: Experiment) -> tuple | None:
        """Start a run; if it needs no start, as when it has a record, return the arguments of `Progress.report`."""

    def events(self) -> Iterator[Event]:
        """Wait until runs send events, and yield them."""

    def stop(self) -> None:
        """End all runs at once."""


def run_all(
    todo: Iterable[Experiment],
    crew: Crew,
    workers: int,
    progress: Progress,
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Run every experiment, in this order and at most `workers` at once; start none once `over()` is true.

    A run whose worker dies is started again from its checkpoint; it is "failed" after ATTEMPTS deaths.  The crew is
    always stopped at the end.

    Raises:
        Exception: an error of the crew that is not the fault of one run, such as OSError for a full disk.
    """
    left = deque(todo)
    deaths: Counter[Experiment] = Counter()
    try:
        while crew.busy() or (left and not over()):
            while left and crew.busy() < workers and not over():
                experiment = left.popleft()
                if outcome := crew.start(experiment):
                    progress.report(experiment, *outcome)
            for kind, experiment, content in crew.events() if crew.busy() else ():
                if kind == "progress":
                    progress(experiment, content)
                elif kind == "outcome":
                    progress.report(experiment, *content)
                else:
                    deaths[experiment] += 1
                    if deaths[experiment] < ATTEMPTS:
                        tqdm.write(f"again: {experiment.name} ({content}; it goes on from its last checkpoint)")
                        left.appendleft(experiment)
                    else:
                        progress.report(experiment, "failed", None, f"{content}, {ATTEMPTS} times")
    finally:
        crew.stop()
