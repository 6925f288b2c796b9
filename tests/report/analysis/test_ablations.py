"""The 2 x 2 of scale and weights, and single switches, on records whose differences are known."""

import pytest
from report_records import record, write

from replication.report.analysis.profile import read_profile

CORNER = {
    "plain": {},
    "balanced": dict(beta=0.9999),
    "weighted": dict(beta=0.9999, reduction="weighted_mean"),
    "scaled": dict(beta=0.9999, weights="uniform_scaled"),
}
ERRORS = {"plain": (48, 49, 47), "weighted": (44, 46, 42), "scaled": (54, 56, 55), "balanced": (42, 43, 42)}


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    runs = [record(e, seed=s, **CORNER[name]) for name, errors in ERRORS.items() for s, e in enumerate(errors)]
    return read_profile(write(tmp_path_factory.mktemp("r"), "cpu", runs), "cpu")


def test_the_four_corners_and_their_contrasts(profile):
    """Balancing: -4, -3, -5 at full scale, -12, -13, -13 at small scale; the interaction is their difference."""
    parts = profile.scale_by_weights.set_index("part")
    assert parts["mean"].round(6).to_dict() == {
        "plain, full scale": 48,
        "balanced, full scale": 44,
        "plain, small scale": 55,
        "balanced, small scale": round(127 / 3, 6),
        "balancing at full scale": -4,
        "balancing at small scale": round(-38 / 3, 6),
        "smaller scale, plain": 7,
        "smaller scale, balanced": round(-5 / 3, 6),
        "interaction": round(26 / 3, 6),
    }
    assert parts["n"].eq(3).all()


def test_a_switch_is_set_against_the_run_of_its_seed(profile):
    rows = profile.ablations.set_index("value")
    row = rows.loc["weighted_mean"]
    assert row[["mean", "n"]].tolist() == pytest.approx([5 / 3, 3])
    assert row["detectable"] == pytest.approx(3.2640435 * row["sd"])


def test_without_records_there_are_no_rows(tmp_path):
    empty = read_profile(tmp_path, "cpu")
    assert empty.scale_by_weights.empty and empty.ablations.empty and empty.finished.empty
