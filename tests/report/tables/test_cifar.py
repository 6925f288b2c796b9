"""Tables: published beside measured, no row without a number, the same numbers in all three formats."""

import io
import math

import pandas as pd
import pytest
from report_records import record, write

from replication.report.analysis.comparison import table2_rows
from replication.report.analysis.profile import read_profile
from replication.report.analysis.statistics import summary
from replication.report.tables import cifar, evidence
from replication.report.tables import table as writing

ALL = {
    "table2": cifar.table2,
    "selection_bias": evidence.bias_table,
    "ablations": evidence.ablations_table,
    "scale_by_weights": evidence.scale_table,
    "methods": evidence.methods_table,
    "heat_map_cifar10": lambda profile: cifar.heat_map(profile, "cifar10"),
}


@pytest.fixture
def profile(tmp_path):
    def read(*runs, name="paper"):
        return read_profile(write(tmp_path, name, runs), name)

    return read


def three_seeds(**fields):
    """Plain 40, 41, 42 and class-balanced 36, 38, 37 at imbalance 50, full protocol unless said otherwise."""
    fields = dict(profile="paper", imbalance_factor=50) | fields
    plain = [record(e, seed=s, **fields) for s, e in enumerate((40, 41, 42))]
    return plain + [record(e, seed=s, beta=0.9999, **fields) for s, e in enumerate((36, 38, 37))]


def test_table_2_sets_published_and_measured_side_by_side(profile):
    data = cifar.table2(profile(*three_seeds())).data.set_index(["dataset", "row", "imbalance_factor"])
    plain = data.loc[("cifar10", "softmax", 50.0)]
    low, high = summary([40, 41, 42])[3:5]
    numbers = plain[["published", "mean", "sd", "n", "low", "high", "seeds"]].tolist()
    assert numbers == [25.19, 41, 1, 3, low, high, "0 1 2"]
    fixed = data.loc[("cifar10", "CB softmax, beta 0.9999", 50.0)]
    assert (fixed["published"], fixed["mean"]) == (21.95, 37)
    best = data.loc[("cifar10", "class-balanced, lowest", 50.0)]
    assert (best["published"], best["mean"], best["pick"]) == (20.73, 37, "softmax, beta 0.9999, lowest of 1")
    assert data.loc[("cifar100", "softmax", 1.0), "published"] == 29.07


def test_table_2_shows_only_rows_with_a_measurement(profile):
    shown = cifar.table2(profile(*three_seeds())).shown.set_index(["data set", "loss", "source"])
    row = shown.loc[("CIFAR-10", "softmax", "ours")]
    assert row["200"] == "-" and row["50"] == "41.00 ± 1.00"
    assert len(shown) == 6 and shown.loc[("CIFAR-10", "softmax", "paper"), "50"] == "25.19"


def test_the_short_study_stands_beside_no_number_of_the_paper(profile):
    read = profile(*three_seeds(profile="cpu"), name="cpu")
    assert set(cifar.table2(read).shown["source"]) == {"ours"}
    assert not [column for column in cifar.heat_map(read, "cifar10").shown if "paper" in column]
    assert "literature" not in evidence.methods_table(read).shown


@pytest.mark.parametrize("name", ALL)
def test_without_records_a_table_has_no_row_of_ours(name, profile):
    made = ALL[name](profile())
    assert made.name == name and "no records" in made.caption
    assert made.shown.empty or set(made.shown["source"]) == {"paper"}


@pytest.mark.parametrize("name", ALL)
def test_smoke_tables_say_that_they_prove_the_pipeline_only(name, profile):
    made = ALL[name](profile(record(9, profile="smoke"), record(8, profile="smoke", beta=0.99), name="smoke"))
    assert all("proves the pipeline" in text for text in (made.markdown(), made.latex()))
    assert all("proves the pipeline only" in line for line in made.csv().splitlines()[1:])


@pytest.mark.parametrize("name", ALL)
def test_captions_hold_study_depth_epochs_seeds_and_hardware(name, profile):
    caption = ALL[name](profile(*three_seeds(imbalance_factor=100))).caption
    assert "Full protocol (ResNet-32, 200 epochs)" in caption and "seeds 0, 1, 2" in caption
    assert "cpu (test)" in caption


def test_heat_map_table_pairs_by_seed(profile):
    lone = record(10, profile="paper", seed=7, imbalance_factor=50)
    made = cifar.heat_map(profile(*three_seeds(), lone), "cifar10")
    row = made.data.set_index(["label", "beta", "imbalance_factor"]).loc[("softmax", 0.9999, 50.0)]
    assert len(made.data) == 125 and row["published_difference"] == pytest.approx(21.95 - 25.19)
    assert (row["difference_mean"], row["difference_n"]) == (-4, 3)  # seed 7 has no partner
    assert len(made.shown) == 2


def test_published_tables_hold_the_counts_and_the_noise():
    assert "11 of 25" in evidence.improvements_table().markdown()
    table = evidence.published_bias_table()
    assert len(table.data) == 15 and "0.95 points" in table.caption


def test_scale_table_gives_errors_of_the_corners_and_changes_of_the_contrasts(profile):
    runs = three_seeds(imbalance_factor=100)
    fields = dict(profile="paper", beta=0.9999)
    runs += [record(44 + s, seed=s, weights="uniform_scaled", **fields) for s in range(3)]
    runs += [record(39 + s, seed=s, reduction="weighted_mean", **fields) for s in range(3)]
    shown = evidence.scale_table(profile(*runs)).shown.set_index("part")
    assert shown.loc["plain, full scale", "error"].startswith("41.00") and shown.loc["interaction", "error"] == "-"
    assert shown.loc["balancing at full scale", "change"].startswith("-1.00")
    assert shown.loc["smaller scale, plain", "change"].startswith("+4.00")


def test_methods_table_pairs_with_plain_and_waits_for_its_seeds(profile):
    deferred = [record(35 + s, profile="paper", seed=s, beta=0.9999, reweight_from=0.8) for s in range(2)]
    shown = evidence.methods_table(profile(*three_seeds(imbalance_factor=100), *deferred)).shown.set_index("method")
    assert shown.loc["class-balanced 0.9999", "change"].startswith("-4.00 [") and shown.loc["plain", "change"] == "-"
    assert shown.loc["deferred class-balanced 0.9999", "word"] == "awaiting seeds"
    assert shown.loc["class-balanced 0.9999", "word"] == "better" and shown.loc["plain", "literature"].startswith("28")


def test_three_formats_one_content(profile, tmp_path):
    made = evidence.methods_table(profile(*three_seeds(imbalance_factor=100)))
    paths = made.write(tmp_path / "tables")
    assert [p.name for p in paths] == ["methods.md", "methods.csv", "methods.tex"]
    markdown, csv, latex = (p.read_text() for p in paths)
    frame = pd.read_csv(io.StringIO(csv))
    assert frame["mean"].tolist() == [41, 37] and frame["profile"].tolist() == ["paper"] * 2
    assert "41.00 ± 1.00 (n = 3)" in markdown and "41.00 ± 1.00 (n = 3)" in latex
    assert latex.count("{tabular}") == 2 and latex.count(r"\\") == 3


def test_latex_and_markdown_escape_what_they_must():
    frame = pd.DataFrame({"a_b": ["50 % | x & y", "n < 3"]})
    table = writing.Table("t", "T_1", "100 %", frame, frame)
    assert r"a\_b" in table.latex() and r"50 \% | x \& y" in table.latex() and r"T\_1. 100 \%" in table.latex()
    assert r"50 % \| x & y" in table.markdown()


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "+1.00"), (-0.001, "0.00"), (0.0, "0.00"), (-2, "-2.00"), (math.nan, "-")]
)
def test_signed_numbers(value, text):
    assert writing.signed(value) == text and not writing.number(-0.001).startswith("-")


def test_spread_of_none_one_and_three():
    words = [writing.spread(summary(v)._asdict()) for v in ([], [4.0], [3.0, 4.0, 5.0])]
    assert words == ["-", "4.00 (n = 1)", "4.00 ± 1.00 (n = 3) [1.52, 6.48]"]


def test_spread_tells_diverged_from_absent_and_no_spread_from_certainty():
    words = [writing.spread(summary(v)._asdict() | {"diverged": k}) for v, k in (([], 3), ([4.0, 4.0], 0), ([4.0], 2))]
    assert words == ["diverged (3 of 3)", "4.00 ± 0.00 (n = 2)", "4.00 (n = 1, 2 diverged)"]


def test_the_lowest_cell_is_picked_among_those_with_enough_seeds_and_has_no_interval(profile):
    """A lucky single run at 0.9 does not win against cells of three seeds."""
    runs = [record(40 + s, profile="paper", seed=s, beta=b) for s in range(3) for b in (0.999, 0.9999)]
    read = profile(*runs, record(30, profile="paper", beta=0.9))
    rows = table2_rows(read.records).query("dataset == 'cifar10' and imbalance_factor == 100").set_index("row")
    pick = rows.loc["class-balanced, lowest"]
    assert (pick["mean"], pick["n"]) == (41, 3) and pick["pick"].endswith("lowest of 2") and math.isnan(pick["low"])
