"""The progress of a sweep with any engine: runs done, time left, images per second, and where each run is."""

import time
from collections import Counter
from collections.abc import Callable

from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord

TELL_EVERY = 0.2  # seconds
FORMAT = "{desc}{percentage:.0f} %, {elapsed} so far, {remaining} left, {rate_fmt}{postfix}"


class Progress:
    """A line on the whole sweep and one on the runs at work; counts in `outcomes` how the runs ended.

    The first line is measured in `images`, the images of each run.  A log file has no second line; there the first
    ends with the state of the run that was evaluated last.

    >>> with Progress({experiment: 1000}, Counter()) as progress:  # doctest: +SKIP
    ...     progress(experiment, 500)
    ...     progress(experiment, dict(epoch=2, training_loss=0.31, error=24.6))
    ...     progress.report(experiment, "finished", record)
    """

    def __init__(self, images: dict[Experiment, int], outcomes: Counter):
        self.images, self.outcomes, self.before = images, outcomes, outcomes.total()
        self.furthest: Counter[Experiment] = Counter()
        self.at_work: dict[Experiment, str] = {}  # the newest state of each run, the latest last

    def __enter__(self) -> "Progress":
        shape = dict(unit="img", unit_scale=True, smoothing=0.1, bar_format=FORMAT)
        self.bar = tqdm(desc=f"0/{len(self.images)} runs: ", total=sum(self.images.values()), **shape)
        on_terminal_only = self.bar.disable or None  # None is tqdm's value for this
        self.runs = tqdm(position=1, bar_format="{desc}", leave=False, disable=on_terminal_only)
        return self

    def __exit__(self, *_) -> None:
        self.runs.close()
        self.bar.close()

    def __call__(self, experiment: Experiment, news: int | dict) -> None:
        """Note how many images a run has trained on by now, or, from a dictionary, the newest point of its curve.

        A resumed run counts only beyond where it has been before.
        """
        if isinstance(news, dict):
            self._show(experiment, state(experiment, news))
            return
        self.bar.update(max(news - self.furthest[experiment], 0))
        self.furthest[experiment] = max(news, self.furthest[experiment])

    def _show(self, experiment: Experiment, text: str | None) -> None:
        """Show a run's state before those of the other runs at work; None: it has ended."""
        self.at_work.pop(experiment, None)
        if text:
            self.at_work[experiment] = text
        newest_first = list(reversed(self.at_work.values()))
        if self.runs.disable:
            self.bar.set_postfix_str("".join(newest_first[:1]))
        else:
            self.runs.set_description_str("; ".join(newest_first))

    def report(
        self, experiment: Experiment, outcome: str, record: RunRecord | None = None, error: str | None = None
    ) -> None:
        """Count and print how a run ended, and subtract the images on which it will not train from the total."""
        self._show(experiment, None)
        if outcome == "finished":
            self(experiment, self.images[experiment])
        else:
            self.bar.total -= self.images[experiment] - self.furthest[experiment]
        self.outcomes["diverged" if record and record.status == "diverged" else outcome] += 1  # including kept ones
        if record and record.error is not None:
            error = f"{record.error:.2f} % error, {record.wall_seconds:.0f} s"
        tqdm.write(f"{outcome}: {experiment.name}" + (f" ({error})" if error else ""))
        self.bar.set_description(f"{self.outcomes.total() - self.before}/{len(self.images)} runs")


def state(experiment: Experiment, point: dict) -> str:
    """Say in short which run this is and where it is.

    >>> state(Experiment(beta=0.9999, seed=1), dict(epoch=120, training_loss=0.3142, error=24.6))
    'cifar10 100 softmax 0.9999 s1: epoch 120/200, loss 0.314, error 24.6 %'
    """
    e = experiment
    factor = e.imbalance_factor if isinstance(e.imbalance_factor, str) else f"{e.imbalance_factor:g}"
    run = f"{e.dataset} {factor} {e.loss_name} {e.beta:g} s{e.seed}"
    return f"{run}: epoch {point['epoch']}/{e.epochs}, loss {point['training_loss']:.3f}, error {point['error']:.1f} %"


def totals(tell: Callable[[int], object], every: float = TELL_EVERY) -> Callable[[int], None]:
    """Return a callback for `train` that adds up a run's images and reports the sum at most every `every` seconds."""
    total, told = 0, 0.0

    def progress(images: int) -> None:
        nonlocal total, told
        total += images
        if time.monotonic() - told >= every:
            tell(total)
            told = time.monotonic()

    return progress
