"""The progress of a sweep with any engine: images trained on, their rate, time left, runs done."""

import time
from collections import Counter
from collections.abc import Callable

from tqdm import tqdm

from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord

TELL_EVERY = 0.2  # seconds


class Progress:
    """A progress bar over `images`, the images of each run, which counts in `outcomes` how the runs ended.

    >>> with Progress({experiment: 1000}, Counter()) as progress:  # doctest: +SKIP
    ...     progress(experiment, 500)
    ...     progress.report(experiment, "finished", record)
    """

    def __init__(self, images: dict[Experiment, int], outcomes: Counter):
        self.images, self.outcomes, self.before = images, outcomes, outcomes.total()
        self.furthest: Counter[Experiment] = Counter()

    def __enter__(self) -> "Progress":
        self.bar = tqdm(total=sum(self.images.values()), unit="img", unit_scale=True, smoothing=0.1)
        self.bar.set_description(f"0/{len(self.images)} runs")
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def __call__(self, experiment: Experiment, images: int) -> None:
        """Note that a run has trained on `images` by now; a resumed run counts only beyond where it has been before."""
        self.bar.update(max(images - self.furthest[experiment], 0))
        self.furthest[experiment] = max(images, self.furthest[experiment])

    def evaluated(self, experiment: Experiment, point: dict) -> None:
        """Show the newest point of a run's curve beside the bar."""
        epoch = f"epoch {point['epoch']}/{experiment.epochs}"
        self.bar.set_postfix_str(f"{epoch}, loss {point['training_loss']:.3f}, error {point['error']:.2f} %")

    def report(
        self, experiment: Experiment, outcome: str, record: RunRecord | None = None, error: str | None = None
    ) -> None:
        """Print how a run ended, and take the images that it will not see off the bar's total."""
        if outcome == "finished":
            self(experiment, self.images[experiment])
        else:
            self.bar.total -= self.images[experiment] - self.furthest[experiment]
        report_run(self.bar, self.outcomes, len(self.images), experiment, outcome, record, error, self.before)


def report_run(
    bar, outcomes: Counter, total: int, experiment, outcome: str, record=None, error: str | None = None, before: int = 0
) -> None:
    """Count and print how a run ended, and show the number of runs done beside the bar; `before`: done before it."""
    outcomes["diverged" if record and record.status == "diverged" else outcome] += 1  # including kept ones
    detail = (
        f"{record.error:.2f} % error, {record.wall_seconds:.0f} s" if record and record.error is not None else error
    )
    tqdm.write(f"{outcome}: {experiment.name}" + (f" ({detail})" if detail else ""))
    bar.set_description(f"{outcomes.total() - before}/{total} runs")


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
