"""Speed and memory of the covering simulation.  Small when benchmarks are disabled, full size with --benchmark-enable.

Full size, one core: N = 1e6, R = 100, 200 numbers of draws up to 1e8 in under 5 s and 1 GB; at least 300 times faster
than drawing and marking at N = 1e4, n = 1e7, R = 20, in one run; cost linear in N R and flat in n;
R = 1e5 at N = 1e4 within 2 GB.
"""

import time
import tracemalloc

import numpy as np

from replication.theory.arguments import log_grid
from replication.theory.occupancy import covered, covered_literally, occupancy_moments


def seconds(call, repeats: int) -> float:
    """Processor seconds of the fastest of `repeats` calls: one core's, on a shared machine too."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def peak_bytes(call) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_large_prototypes(benchmark):
    volume, replicates, last = (10**6, 100, 1e8) if benchmark.enabled else (10**4, 10, 1e6)
    draws = log_grid(last, 200)
    counts = benchmark.pedantic(
        covered, (volume, draws, replicates), rounds=3 if benchmark.enabled else 1, warmup_rounds=0
    )
    mean, variance, _ = occupancy_moments(volume, draws)
    assert (np.abs(counts.mean(0) - mean) <= 5 * np.sqrt(variance / replicates) + 0.5).all()
    peak = peak_bytes(lambda: covered(volume, draws, replicates))
    benchmark.extra_info["peak_MB"] = round(peak / 1e6, 1)
    assert peak < 1e9
    if benchmark.enabled:
        benchmark.extra_info["processor_seconds"] = taken = round(
            seconds(lambda: covered(volume, draws, replicates), 2), 2
        )
        assert taken < 5


def test_faster_than_drawing_and_marking(benchmark):
    """One number of draws; both simulations follow N = 1e4 prototypes to n = 1e7, R = 20 (disabled: n = 1e5, R = 2)."""
    volume, draws, replicates = (10**4, 10**7, 20) if benchmark.enabled else (10**3, 10**5, 2)
    benchmark.pedantic(covered, (volume, draws, replicates), rounds=1)
    fast = seconds(lambda: covered(volume, draws, replicates), 7 if benchmark.enabled else 1)
    literal = seconds(lambda: covered_literally(volume, draws, replicates), 1)
    benchmark.extra_info["times_faster"] = round(literal / fast, 1)
    if benchmark.enabled:
        assert literal / fast >= 300


def test_cost_is_linear_in_size_and_flat_in_draws(benchmark):
    """Slopes of log seconds: about 1 against N and against R, about 0 against n."""
    large = benchmark.enabled
    repeats = 5 if large else 1
    volumes, rows, draws = (
        ((10**4, 10**6), (10, 1000), (10**6, 10**12)) if large else ((100, 1000), (2, 20), (10**4, 10**6))
    )
    benchmark.pedantic(covered, (volumes[0], draws[0], rows[0]), rounds=1)
    arguments = {
        "N": [(volume, 100 * volumes[1], 10) for volume in volumes],
        "R": [(10**4, 10**6, replicates) for replicates in rows],
        "n": [(10**4, n, 100) for n in draws],
    }
    grown = {"N": volumes[1] / volumes[0], "R": rows[1] / rows[0], "n": draws[1] / draws[0]}
    slope = {}
    for name, (small, big) in arguments.items():
        times = [seconds(lambda a=a: covered(*a), repeats) for a in (small, big)]
        slope[name] = np.log(times[1] / times[0]) / np.log(grown[name])
        benchmark.extra_info[f"slope_in_{name}"] = round(slope[name], 3)
    if large:
        assert 0.8 < slope["N"] < 1.2 and 0.8 < slope["R"] < 1.2 and abs(slope["n"]) < 0.05


def test_many_replicates_fit_in_memory(benchmark):
    replicates = 10**5 if benchmark.enabled else 10**3
    draws = log_grid(1e5, 100)
    peak = benchmark.pedantic(lambda: peak_bytes(lambda: covered(10**4, draws, replicates)), rounds=1)
    benchmark.extra_info["peak_MB"] = round(peak / 1e6, 1)
    assert peak < 2e9
