"""The verdict on E_n: it passes for the true N, fails for a beta that is 1 % off, and fails for a wrong spread."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replication.cli.covering import main
from replication.theory.arguments import log_grid
from replication.theory.covering import COLUMNS, COMMITTED, Case, battery, check, rescored, verify

COMMITTED_RUN = Path(__file__).parents[2] / "results" / "covering" / "verify.csv"


@pytest.fixture(scope="module")
def committed():
    return pd.read_csv(COMMITTED_RUN)


def test_the_quick_battery_passes(quick_battery):
    verdict = check(quick_battery)
    assert list(quick_battery.columns) == COLUMNS
    assert verdict.passed and verdict.largest_z < verdict.bound and verdict.variances >= 30


def test_the_committed_run_passes_and_is_as_large_as_promised(committed):
    verdict = check(committed)
    assert verdict.passed, verdict.message
    prototypes = committed[committed["geometry"] == "prototypes"]
    assert set(prototypes["N"]) == {1, 2, 10, 100, 1e3, 1e4, 1e6}
    last = prototypes.groupby("N")[["n", "replicates"]].max()
    assert (last["n"] >= 10 * last.index).all()
    assert (last["n"] * last["replicates"]).sum() >= 1e9
    assert set(committed.loc[committed["geometry"] == "cubes", "d"]) == set(range(1, 7))
    assert set(committed.loc[committed["geometry"] == "balls", "d"]) == set(range(2, 7))  # in d = 1 a ball is a cube


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_wrong_beta_is_rejected_at_the_committed_size(committed, factor):
    """N off by 1 %: rejected for the prototypes of each N on its own (0.99 has no meaning for N = 1)."""
    for volume, group in committed[committed["geometry"] == "prototypes"].groupby("N"):
        if volume * factor >= 1:
            assert check(group).passed and not check(rescored(group, factor)).passed, volume


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wrong_spread_is_rejected(quick_battery, factor):
    """A standard deviation off by 10 % fails the chi-square, though every mean is right."""
    rows = quick_battery[quick_battery["geometry"] == "prototypes"]
    wrong = rescored(rows.assign(standard_error=rows["standard_error"] * factor))
    assert check(wrong).largest_z == check(rows).largest_z
    assert not check(wrong).passed


def test_a_mean_without_spread_must_be_exact():
    frame = verify(volume=1, draws=[1, 5], replicates=10)
    assert frame["z"].tolist() == [0, 0]
    moved = rescored(frame.assign(mean=frame["mean"] + 1e-6))
    assert np.isinf(moved["z"]).all() and not check(moved).passed


def test_z_is_normal_over_seeds():
    """z has mean 0 and variance 1: 200 seeds at N = 50, n = 40, 100 replicates each, both within 4 standard errors."""
    z = np.array([verify(volume=50, draws=40, replicates=100, seed=s)["z"][0] for s in range(200)])
    assert abs(z.mean()) < 4 / np.sqrt(200)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 200)


def test_level_of_the_check():
    """Under the truth it fails as often as it says: 60 tables of eight independent rows, 0.2 for the means and as much
    for the variances, so 1 - 0.8^2 = 36 %, 22 of them; without Bonferroni's correction of either it were 50."""
    tables = [[verify(volume=20, draws=20, replicates=1000, seed=8 * t + s) for s in range(8)] for t in range(60)]
    verdicts = [check(pd.concat(rows, ignore_index=True), level=0.2) for rows in tables]
    assert {v.variances for v in verdicts} == {8}
    assert 10 <= sum(not v.passed for v in verdicts) <= 35  # 22 -+ 3 standard deviations of 3.7


def test_rare_events_do_not_raise_a_false_alarm():
    """N = 2, n = 20: 400 000 replicates miss a prototype 0.76 times on average; one or three misses are no evidence."""
    frame = verify(volume=2, draws=20, replicates=400_000)
    for misses in (0, 1, 3):
        assert check(rescored(frame.assign(mean=2 - misses / 400_000))).passed
    assert not check(rescored(frame.assign(mean=2 - 40 / 400_000))).passed


def test_a_single_collision_in_a_large_volume_is_no_evidence():
    """N = 1e6, n = 12: one collision in 100 replicates comes once in 150 runs (the birthday problem); ten never do."""
    frame = verify(volume=10**6, draws=12, replicates=100)
    assert 0 < frame["exact_sd"][0] < 0.01 and np.isfinite(frame["z"]).all()
    for collisions in (0, 1, 2):
        assert check(rescored(frame.assign(mean=12 - collisions / 100))).passed
    assert not check(rescored(frame.assign(mean=12 - 10 / 100))).passed


@pytest.mark.parametrize("factor", [0.5, 2])
def test_which_variances_are_judged_does_not_depend_on_what_was_simulated(committed, factor):
    """Means and standard errors changed at will, the same rows are judged; all counts as known that has a spread."""
    verdict = check(committed)
    changed = {name: committed[name] * factor for name in ("mean", "standard_error")}
    other = check(committed.assign(**changed))
    assert 0 < verdict.variances == other.variances < verdict.known == other.known == (committed["exact_sd"] > 0).sum()
    assert f"{verdict.variances} of {verdict.known} known variances tested" in verdict.message and not other.passed


def test_torus_rows_have_their_exact_spread():
    frame = verify("cubes", 2, 30, [1, 10, 30], 50, seed=2)
    assert frame["exact_sd"].notna().all() and set(frame["d"]) == {2}
    assert np.isnan(verify("cubes", 3, 5, [3], 50)["exact_sd"][0])  # sets meet from two sides: observed error is used


def test_battery_is_deterministic():
    cases = [Case("prototypes", 0, 100, 50, 2, 5), Case("balls", 2, 10, 10, 2, 5)]
    pd.testing.assert_frame_equal(battery(cases, seed=3), battery(cases, seed=3))
    assert not battery(cases, seed=3)["mean"].equals(battery(cases, seed=4)["mean"])


def test_log_grid():
    assert log_grid(10, 40).tolist() == list(range(1, 11))
    assert len(log_grid(1e7, 40)) <= 40 and log_grid(1e7, 40)[-1] == 10**7 and log_grid(0.5, 3).tolist() == [1]
    assert sum(case.geometry == "prototypes" for case in COMMITTED) == 7


def test_command_line(capsys, monkeypatch):
    options = Namespace(geometry="balls", dim=2, volume=[20.0], draws=[1, 20], replicates=50, seed=0)
    assert main(options) == 0
    text = capsys.readouterr().out
    assert "balls" in text and "exact_sd" in text and "passed: largest |z|" in text
    monkeypatch.setattr("replication.theory.covering.verify", lambda *_: rescored(verify(volume=100), 1.1))
    assert main(options) == 1
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(volume=2.5), "volume must be a whole number"),
        (dict(volume=0), "volume must be a finite number >= 1, got 0"),
        (dict(draws=-1), "draws must be whole numbers >= 0"),
        (dict(replicates=1), "replicates must be a whole number >= 2"),
        (dict(geometry="cylinders", d=2), "geometry must be one of cubes, balls, got 'cylinders'"),
        (dict(geometry="cubes", d=0), "d must be a whole number from 1 to 6, got 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        verify(**arguments)


def test_check_refuses_a_table_it_cannot_judge(quick_battery):
    with pytest.raises(ValueError, match="frame must have rows"):
        check(quick_battery.iloc[:0])
    with pytest.raises(ValueError, match=r"lacks \['z'\]"):
        check(quick_battery.drop(columns="z"))
