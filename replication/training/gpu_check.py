"""What a GPU must show before runs are trusted to it, in about a minute; then how fast it is.

On a machine without CUDA the same checks run with plain calls and a small network, so that they can be rehearsed.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from replication.data.image_set import ImageSet
from replication.experiments.experiment import Experiment
from replication.training.cifar.train import CifarRun
from replication.training.device import cuda_switches, pick_device, synchronize

LOSSES: tuple[dict[str, Any], ...] = (
    dict(loss="softmax", beta=0.9999),
    dict(loss="sigmoid", beta=0.999),
    dict(loss="focal", gamma=0.5, beta=0.99),
    dict(loss="balanced_softmax"),
)
RUNS_AT_ONCE = (1, 2, 4, 8, 12)
GOOD_ENOUGH = 0.93  # of the best rate: fewer runs at once end sooner and leave fewer unfinished


def check_gpu(
    device: str = "auto", seconds: float = 75.0, compile_too: bool = True, say: Callable[[str], object] = print
) -> dict:
    """Check that a GPU computes what it should, and measure its speed.

    Args:
        device: a CUDA device, or "cpu" for a rehearsal.
        seconds: no new measurement begins after this time.
        compile_too: whether to try torch.compile.
        say: called with each line of the report.

    Returns:
        checks (name -> passed), details (name -> what was compared), numbers (name -> measured), choice (workers and
        compile for a sweep, None without a measured speed) and seconds.
    """
    check = _Check(pick_device(device), seconds, say)
    with check.same_bits():
        for test in (check.eager, check.cpu, check.graph, check.streams, check.test, check.resume, check.learns):
            check.guarded(test)
    with cuda_switches(check.device):
        check.guarded(check.evaluation)
        check.speed(RUNS_AT_ONCE)
        check.guarded(check.profile)
        if compile_too and check.left() > (25 if check.cuda else -1e9):
            check.guarded(check.compiled)
            if check.compile:
                check.speed((8, 4, 1, 12) if check.cuda else (1,))
                check.guarded(check.profile)
    return check.result()


def random_data(n: int, classes: int = 10) -> ImageSet:
    """Return n random 32x32 images, brighter for later classes so that there is something to learn."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(classes), n // classes)
    images = rng.integers(0, 128, (len(targets), 32, 32, 3), dtype=np.uint8)
    images += (targets * 127 // classes).astype(np.uint8)[:, None, None, None]
    return ImageSet(images, targets, tuple(map(str, range(classes))))


class _Check:
    """One method a check; each says what it compared."""

    def __init__(self, device: torch.device, seconds: float, say: Callable[[str], object]):
        self.device, self.seconds, self.say = device, seconds, say
        self.cuda = device.type == "cuda"
        self.began, self.compile = time.monotonic(), False
        self.checks: dict[str, bool] = {}
        self.details: dict[str, str] = {}
        self.numbers: dict[str, float] = {}
        self.data = random_data(50_000 if self.cuda else 2000), random_data(10_000 if self.cuda else 500)
        self.base = Experiment(imbalance_factor=50, depth=32 if self.cuda else 8, epochs=20)
        self.steps = 20 if self.cuda else 2

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def passed(self, name: str, holds: bool, detail: str = "") -> None:
        self.checks[name], self.details[name] = bool(holds), detail
        self.say(f"{'ok  ' if holds else 'FAIL'} {name}: {detail}  [{time.monotonic() - self.began:.0f} s]")

    def guarded(self, test: Callable[[], object]) -> None:
        """Call a check; an error of any kind is a failed check, and the others go on."""
        try:
            with self.stream():
                test()
        except Exception as error:
            self.passed(test.__name__, False, f"{type(error).__name__}: {str(error)[:300]}")

    def stream(self) -> contextlib.AbstractContextManager:
        return torch.cuda.stream(torch.cuda.Stream(self.device)) if self.cuda else contextlib.nullcontext()

    @contextlib.contextmanager
    def same_bits(self):
        """Let cuDNN choose algorithms that repeat to the bit."""
        with cuda_switches(self.device):
            cudnn = torch.backends.cudnn
            before = cudnn.deterministic, cudnn.benchmark
            cudnn.deterministic, cudnn.benchmark = True, False
            try:
                yield
            finally:
                cudnn.deterministic, cudnn.benchmark = before

    def make(self, fields: dict, graphs: bool = True, precision: str = "bfloat16", device=None) -> CifarRun:
        device = device or self.device
        return CifarRun(
            replace(self.base, **fields), self.data, device, compiled=self.compile, precision=precision, graphs=graphs
        )

    def train(self, run: CifarRun, steps: int) -> CifarRun:
        run.model.train()
        run.total.zero_()
        for _ in range(steps):
            run.train_once()
        return run

    def losses(self, run: CifarRun, steps: int) -> np.ndarray:
        return np.array([float(self.train(run, 1).total) for _ in range(steps)])

    def same(self, one: CifarRun, other: CifarRun) -> bool:
        if self.cuda:
            torch.cuda.synchronize(self.device)
        states = [
            [*r.model.state_dict().values(), *(s["momentum_buffer"] for s in r.optimiser.state.values()), r.total]
            for r in (one, other)
        ]
        return all(torch.equal(a, b) for a, b in zip(*states, strict=True))

    def eager(self) -> None:
        """An eager step and test ask nothing of the host."""
        run = self.train(self.make(LOSSES[2], graphs=False), 2)  # cuDNN's first choice of algorithms may wait
        synchronize(self.device)
        if self.cuda:
            torch.cuda.set_sync_debug_mode("error")
        try:
            self.train(run, 2)
            run.model.eval()
            run._test()
        finally:
            if self.cuda:
                torch.cuda.set_sync_debug_mode("default")
        self.passed("no wait for the host", True, "two eager steps and a test under set_sync_debug_mode('error')")

    def cpu(self) -> None:
        """In float32 the first losses are those of the CPU."""
        fields, steps = LOSSES[2], 3
        expected = self.losses(self.make(fields, precision="float32", device=torch.device("cpu")), steps)
        found = self.losses(self.make(fields, precision="float32"), steps)
        apart = float(np.max(np.abs(found - expected) / expected))
        self.passed("float32 losses are the CPU's", apart < 1e-4, f"largest relative difference {apart:.1e}")

    def graph(self) -> None:
        """Replays of a recorded step are eager steps, to the bit."""
        for fields in LOSSES:
            one, other = (self.train(self.make(fields, graphs=graphs), self.steps) for graphs in (False, True))
            same = self.same(one, other) and bool(one.total.isfinite())
            self.passed(f"graph equals eager, {fields['loss']}", same, f"{self.steps} steps, all state, to the bit")

    def streams(self) -> None:
        """Runs at once on several streams are the runs one by one, to the bit."""
        fields = [loss | dict(seed=seed) for seed, loss in enumerate(LOSSES)]
        alone = [self.train(self.make(f), self.steps) for f in fields]
        together, _, _ = self.at_once(fields, self.steps)
        same = all(self.same(a, b) for a, b in zip(alone, together, strict=True))
        self.passed("streams equal one by one", same, f"{len(fields)} runs, {self.steps} steps, to the bit")

    def test(self) -> None:
        """The captured test counts as the float32 evaluation does, but for TF32."""
        run = self.train(self.make(LOSSES[0]), 10 * self.steps)
        run.model.eval()
        run.test_once()
        synchronize(self.device)
        found = 100 * float(run.wrong.sum()) / len(run.test_targets)
        logits = run.test_logits()
        expected = 100 * float((logits.argmax(1) != run.test_targets).float().mean())
        apart = abs(found - expected)
        self.passed("captured test", apart < (0.3 if self.cuda else 1e-4), f"{found:.2f} % against {expected:.2f} %")

    def resume(self) -> None:
        """A run that was stopped and taken up again is the uninterrupted run, to the bit."""
        whole = self.train(self.make(LOSSES[2]), 2 * self.steps)
        begun = self.train(self.make(LOSSES[2]), self.steps)
        begun.step = self.steps
        with TemporaryDirectory() as folder:
            begun.save(Path(folder) / "c.pt", [], 0.0)
            again = self.make(LOSSES[2])
            again.resume(Path(folder) / "c.pt")
        self.train(again, self.steps)
        whole.total.copy_(again.total)  # the sums began at different steps
        self.passed("resumed equals uninterrupted", self.same(whole, again), f"{2 * self.steps} steps, to the bit")

    def learns(self) -> None:
        run = self.make(LOSSES[0])
        run.rates.fill_(0.05)
        losses = self.losses(run, 10 * self.steps)
        first, last = losses[:3].mean(), losses[-3:].mean()
        self.passed("the loss falls", last < first, f"{first:.3f} to {last:.3f} in {len(losses)} steps")

    def compiled(self) -> None:
        """The compiled network's first losses are the eager ones but for rounding; later every run is compiled."""
        eager = self.losses(self.make(LOSSES[2]), 3)
        began = time.monotonic()
        self.compile = True
        run = self.make(LOSSES[2])
        self.numbers["compilation, s"] = round(time.monotonic() - began, 1)
        apart = float(np.max(np.abs(self.losses(run, 3) - eager) / eager)) if run.compiled else float("nan")
        self.compile = run.compiled and apart < 0.01
        detail = f"largest relative difference {apart:.1e}, {self.numbers['compilation, s']} s"
        self.passed("compiled equals eager but for rounding", self.compile, detail)

    def at_once(self, fields: list[dict], steps: int) -> tuple[list[CifarRun], float, float]:
        """Make and train each run in a thread and stream of its own; return them, and seconds to make and to train."""
        made: list = [None] * len(fields)
        errors: list[Exception] = []
        marks: list[float] = []
        barrier = threading.Barrier(len(fields))

        def life(k: int) -> None:
            try:
                with self.stream():
                    made[k] = self.make(fields[k])
                    synchronize(self.device)
                    barrier.wait(120)
                    marks.append(time.monotonic())
                    self.train(made[k], steps)
                    synchronize(self.device)
            except Exception as error:
                errors.append(error)
                barrier.abort()

        began = time.monotonic()
        threads = [threading.Thread(target=life, args=(k,)) for k in range(len(fields))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return made, min(marks) - began, time.monotonic() - min(marks)

    def speed(self, counts: tuple[int, ...]) -> None:
        """Measure images a second of runs at once."""
        steps = 150 if self.cuda else 2
        for k in counts if self.cuda else counts[:2]:
            if self.cuda and self.left() < 5:
                return
            try:
                runs, making, training = self.at_once([LOSSES[i % 4] | dict(seed=i) for i in range(k)], steps)
            except Exception as error:
                return self.passed(f"{k} runs at once", False, f"{type(error).__name__}: {str(error)[:300]}")
            rate = k * steps * self.base.batch_size / training
            self.numbers[f"images/s, {k} at once" + (", compiled" if self.compile else "")] = round(rate)
            self.say(f"     {k:2d} at once: {rate:9.0f} images/s; made in {making:.1f} s")
            del runs
            if self.cuda:
                torch.cuda.empty_cache()

    def evaluation(self) -> None:
        """Measure the float32 evaluation and the captured one, in seconds."""
        run = self.make(LOSSES[0])
        run.model.eval()
        for name, function in (("float32", run.test_logits), ("captured", run.test_once)):
            times = []
            for _ in range(4 if self.cuda else 1):
                began = time.monotonic()
                function()
                synchronize(self.device)
                times.append(time.monotonic() - began)
            self.numbers[f"evaluation {name}, s"] = round(statistics.median(times), 4)
        self.say(f"     { ({k: v for k, v in self.numbers.items() if k.startswith('evaluation')}) }")

    def profile(self) -> None:
        """Print where a step's time goes, kernel by kernel."""
        from torch.profiler import ProfilerActivity, profile

        run = self.train(self.make(LOSSES[0]), 3)
        synchronize(self.device)
        with profile(activities=[ProfilerActivity.CUDA if self.cuda else ProfilerActivity.CPU]) as seen:
            self.train(run, 5 if self.cuda else 1)
            synchronize(self.device)
        sort = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        self.say(seen.key_averages().table(sort_by=sort, row_limit=22, max_name_column_width=80))

    def result(self) -> dict:
        return dict(
            checks=self.checks,
            details=self.details,
            numbers=self.numbers,
            choice=choice(self.numbers),
            device=torch.cuda.get_device_name(self.device) if self.cuda else "CPU",
            torch=str(torch.__version__),
            cudnn=torch.backends.cudnn.version(),
            seconds=round(time.monotonic() - self.began, 1),
        )


def choice(numbers: dict[str, float]) -> dict | None:
    """Return the workers and the compilation for a sweep: the fewest runs at once that come near the best rate.

    >>> choice({"images/s, 4 at once": 95.0, "images/s, 8 at once": 100.0, "images/s, 1 at once, compiled": 60.0})
    {'workers': 4, 'compile': False, 'images_per_second': 95.0}
    """
    rates = {name: rate for name, rate in numbers.items() if "at once" in name}
    if not rates:
        return None
    good = [name for name, rate in rates.items() if rate >= GOOD_ENOUGH * max(rates.values())]
    best = min(good, key=lambda name: (int(name.split()[1]), -rates[name]))
    return dict(workers=int(best.split()[1]), compile="compiled" in best, images_per_second=rates[best])
