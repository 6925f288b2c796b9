"""Check a GPU before runs are trusted to it, in half a minute; then measure its speed, eager and compiled.

On a machine without CUDA the same checks run with plain calls and a small network, so that they can be rehearsed.
"""

import contextlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from replication.training.cifar.train import CifarRun
from replication.training.device import cuda_switches, own_stream, pick_device, synchronize
from replication.training.gpu_bench import LOSSES, Bench

RUNS_AT_ONCE = (8, 4, 2, 1)  # in the order of their measurement
MANY_AT_ONCE = 12  # measured last
COMPILE_SECONDS, MANY_SECONDS = 45.0, 20.0  # what each takes on an H100; neither starts with less time left
GOOD_ENOUGH = 0.93  # of the best rate: fewer runs at once end sooner and leave fewer unfinished
CHECKS = ("eager", "cpu", "graph", "streams", "test", "resume", "learns", "compiled")  # methods of `Check`


def check_gpu(
    device: str = "auto",
    seconds: float = 120.0,
    compile_too: bool = True,
    compare: bool = False,
    say: Callable[[str], object] = print,
) -> dict:
    """Check that a GPU computes correctly, and measure its speed.

    Args:
        device: a CUDA device, or "cpu" for a rehearsal.
        seconds: no measurement starts that would end much later than this; the checks are always made.
        compile_too: whether to try torch.compile.
        compare: whether to measure the straightforward loop and the limits of the device as well, some 20 seconds.
        say: called with each line of the report.

    Returns:
        checks (name -> passed), details (name -> what was compared), numbers (name -> measured), choice (workers and
        compile for a sweep, None without a measured speed), sweep_options (see there), device, versions and seconds.

    Raises:
        ValueError: an unknown device, or seconds that are not > 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be a number > 0, got {seconds!r}")
    check = Check(pick_device(device), seconds, say)
    with check.same_bits():
        for name in CHECKS[:-1]:
            check.guarded(getattr(check, name))
    if compare:
        check.guarded(check.plain)
        check.guarded(check.limits)
    counts = RUNS_AT_ONCE if check.cuda else RUNS_AT_ONCE[-2:]
    with cuda_switches(check.device):
        check.guarded(check.evaluation)
        check.guarded(check.speed, counts)
        if compile_too and check.left() > COMPILE_SECONDS:
            check.guarded(check.compiled)
            if check.compile:
                check.guarded(check.speed, counts)
        if check.left() > 0:
            check.guarded(check.profile)
        if check.cuda and check.left() > MANY_SECONDS:
            check.guarded(check.speed, (MANY_AT_ONCE,))
    return check.result()


class Check(Bench):
    """The checks, one per method; each reports what it compared.

    Attributes:
        checks: name -> whether it passed.
        details: name -> what was compared.
        failed: the methods with a check that did not pass.
        method: the one that is called at present.
    """

    def __init__(self, device: torch.device, seconds: float = 120.0, say: Callable[[str], object] = print):
        super().__init__(device, seconds, say)
        self.checks: dict[str, bool] = {}
        self.details: dict[str, str] = {}
        self.failed: set[str] = set()
        self.method = ""
        self.steps = 20 if self.cuda else 2

    def passed(self, name: str, holds: bool, detail: str = "") -> None:
        self.checks[name], self.details[name] = bool(holds), detail
        if not holds:
            self.failed.add(self.method)
        self.say(f"{'ok  ' if holds else 'FAIL'} {name}: {detail}  [{time.monotonic() - self.began:.0f} s]")

    def guarded(self, test: Callable[..., object], *arguments) -> None:
        """Call a check; an error of any kind counts as a failed check, and the others still run."""
        self.method = test.__name__
        try:
            with own_stream(self.device):
                test(*arguments)
        except Exception as error:
            self.passed(self.method, False, f"{type(error).__name__}: {str(error)[:300]}")

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

    def same(self, one: CifarRun, other: CifarRun) -> bool:
        if self.cuda:
            torch.cuda.synchronize(self.device)
        states = [
            [*r.model.state_dict().values(), *(s["momentum_buffer"] for s in r.optimiser.state.values()), r.total]
            for r in (one, other)
        ]
        return all(torch.equal(a, b) for a, b in zip(*states, strict=True))

    def eager(self) -> None:
        """Check that an eager step and test do not synchronise with the host."""
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
        """Check that the first losses in float32 agree with the CPU."""
        fields, steps = LOSSES[2], 3
        expected = self.losses(self.make(fields, precision="float32", device=torch.device("cpu")), steps)
        found = self.losses(self.make(fields, precision="float32"), steps)
        apart = float(np.max(np.abs(found - expected) / expected))
        self.passed("float32 losses are the CPU's", apart < 1e-4, f"largest relative difference {apart:.1e}")

    def graph(self) -> None:
        """Check that replays of a recorded step equal eager steps to the bit."""
        for fields in LOSSES:
            one, other = (self.train(self.make(fields, graphs=graphs), self.steps) for graphs in (False, True))
            same = self.same(one, other) and bool(one.total.isfinite())
            self.passed(f"graph equals eager, {fields['loss']}", same, f"{self.steps} steps, all state, to the bit")

    def streams(self) -> None:
        """Check that runs at once on several streams equal the runs one by one to the bit."""
        fields = [loss | dict(seed=seed) for seed, loss in enumerate(LOSSES)]
        alone = [self.train(self.make(f), self.steps) for f in fields]
        together, *_ = self.at_once(fields, self.steps)
        same = all(self.same(a, b) for a, b in zip(alone, together, strict=True))
        self.passed("streams equal one by one", same, f"{len(fields)} runs, {self.steps} steps, to the bit")

    def test(self) -> None:
        """Check that the captured test agrees with the float32 evaluation, except for TF32."""
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
        """Check that a run that was stopped and resumed equals the uninterrupted run to the bit."""
        whole = self.train(self.make(LOSSES[2]), 2 * self.steps)
        half = self.train(self.make(LOSSES[2]), self.steps)
        half.step = self.steps
        with TemporaryDirectory() as folder:
            half.save(Path(folder) / "c.pt", [], 0.0)
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
        """Check that the compiled first losses are the eager ones up to rounding; if so, compile later runs."""
        eager = self.losses(self.make(LOSSES[2]), 3)
        began, apart = time.monotonic(), float("nan")
        self.compile = True
        try:
            run = self.make(LOSSES[2])
            if run.compiled:
                apart = float(np.max(np.abs(self.losses(run, 3) - eager) / eager))
        finally:
            self.compile = apart < 0.01
        self.numbers["compilation, s"] = round(time.monotonic() - began, 1)
        detail = f"largest relative difference {apart:.1e}, {self.numbers['compilation, s']} s"
        self.passed("compiled equals eager but for rounding", self.compile, detail)

    def result(self) -> dict:
        chosen = choice(self.numbers)
        return dict(
            checks=self.checks,
            details=self.details,
            numbers=self.numbers,
            choice=chosen,
            sweep_options=sweep_options(self.failed, chosen),
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


def sweep_options(failed: Collection[str], choice: dict | None) -> list[str] | None:
    """Return the options of `sweep` that still train after some checks failed; None if no training can be trusted.

    Args:
        failed: names of `CHECKS`, "evaluation" or "speed".
        choice: workers and compile for a sweep, None if no speed was measured.

    >>> " ".join(sweep_options([], dict(workers=4, compile=True)))
    '--engine streams --workers 4 --compile'
    >>> " ".join(sweep_options(["graph", "streams"], None))
    '--engine local --no-graphs --no-compile'
    """
    if {"cpu", "resume", "learns"} & set(failed):
        return None
    if {"eager", "graph", "test", "evaluation"} & set(failed):
        return ["--engine", "local", "--no-graphs", "--no-compile"]
    if {"streams", "speed"} & set(failed):
        return ["--engine", "local", "--no-compile"]
    workers, compiled = (choice["workers"], choice["compile"]) if choice else (4, False)
    return ["--engine", "streams", "--workers", str(workers), "--compile" if compiled else "--no-compile"]
