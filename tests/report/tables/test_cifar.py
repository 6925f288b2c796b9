"""Tables: published beside measured, "not measured" where there is no record, the same numbers in all three formats."""

import io
import math

import pandas as pd
import pytest
from report_records import record, write

from replication.report.analysis.measured import profile_records
from replication.report.analysis.statistics import summary
from replication.report.tables import cifar as tables
from replication.report.tables import evidence as evidence_tables
from replication.report.tables import table as writing
from replication.report.tables.table import SMOKE_NOTE

ALL = (tables.table1, tables.table2, evidence_tables.paired_table, evidence_tables.luck_table,
       evidence_tables.controls_table, evidence_tables.parts_table, evidence_tables.per_class_table,
       lambda r, p: tables.heat_map(r, p, "cifar10"))  # fmt: skip


@pytest.fixture
def records(tmp_path):
    def read(*runs, profile="cpu"):
        return profile_records(write(tmp_path, profile, runs), profile)

    return read


def three_seeds(**fields):
    """Plain 40, 41, 42 and class-balanced 36, 38, 37 at imbalance 50."""
    plain = [record(e, seed=s, imbalance_factor=50, **fields) for s, e in enumerate((40, 41, 42))]
    return plain + [record(e, seed=s, imbalance_factor=50, beta=0.9999, **fields) for s, e in enumerate((36, 38, 37))]


def test_table_2_sets_published_and_measured_side_by_side(records):
    data = tables.table2(records(*three_seeds()), "cpu").data.set_index(["dataset", "row", "imbalance_factor"])
    plain = data.loc[("cifar10", "softmax", 50.0)]
    low, high = summary([40, 41, 42])[3:]
    assert plain[["published", "mean", "sd", "n", "low", "high", "seeds"]].tolist() == [
        25.19,
        41,
        1,
        3,
        low,
        high,
        "0 1 2",
    ]
    fixed = data.loc[("cifar10", "CB softmax, beta 0.9999", 50.0)]
    assert (fixed["published"], fixed["mean"]) == (21.95, 37)
    best = data.loc[("cifar10", "class-balanced, lowest", 50.0)]
    assert (best["published"], best["mean"], best["pick"]) == (20.73, 37, "softmax, beta 0.9999, lowest of 1")
    assert data.loc[("cifar100", "softmax", 1.0), "published"] == 29.07


def test_what_was_not_measured_says_so_and_holds_no_number(records):
    shown = tables.table2(records(*three_seeds()), "cpu").shown.set_index(["data set", "loss", "source"])
    row = shown.loc[("CIFAR-10", "softmax", "measured")]
    assert row["200"] == "not measured" and row["50"].startswith("41.00 ± 1.00 (n = 3) [38.52, 43.48]")
    assert (shown.xs("measured", level="source").loc["CIFAR-100"] == "not measured").all(axis=None)


@pytest.mark.parametrize("table", ALL)
def test_without_records_every_table_still_stands(table, records):
    made = table(records(), "cpu")
    assert "nothing measured" in made.caption
    assert not any(column in made.data and made.data[column].notna().any() for column in ("mean", "fixed_gain"))


@pytest.mark.parametrize("table", ALL)
def test_smoke_tables_say_that_they_prove_the_pipeline_only(table, records):
    made = table(records(record(9, profile="smoke"), record(8, profile="smoke", beta=0.99), profile="smoke"), "smoke")
    assert SMOKE_NOTE in made.markdown() and SMOKE_NOTE in made.latex()
    assert all("proves the pipeline only" in line for line in made.csv().splitlines()[1:])


@pytest.mark.parametrize("table", ALL)
def test_captions_hold_profile_depth_epochs_seeds_and_hardware(table, records):
    caption = table(records(*three_seeds()), "cpu").caption
    assert "Profile cpu: ResNet-8, 30 epochs" in caption and "seeds 0, 1, 2" in caption and "cpu (test)" in caption


def test_heat_map_table_pairs_by_seed(records):
    made = tables.heat_map(records(*three_seeds(), record(10, seed=7, imbalance_factor=50)), "cpu", "cifar10")
    row = made.data.set_index(["label", "beta", "imbalance_factor"]).loc[("softmax", 0.9999, 50.0)]
    assert len(made.data) == 125 and row["published_difference"] == pytest.approx(21.95 - 25.19)
    assert (row["difference_mean"], row["difference_n"]) == (-4, 3)  # seed 7 has no partner


def test_heat_map_of_a_set_that_the_paper_does_not_have(records):
    frame = records(record(9, profile="smoke"), profile="smoke")
    made = tables.heat_map(frame, "smoke", "digits")
    assert len(made.data) == 1 and math.isnan(made.data["published"].iloc[0]) and made.shown["paper"].tolist() == ["-"]


def test_per_class_runs_head_to_tail_with_the_images_kept(records):
    data = evidence_tables.per_class_table(records(*three_seeds()), "cpu").data.query("beta == 0")
    assert data["images"].iloc[[0, -1]].tolist() == [5000, 100] and data["class_index"].tolist() == list(range(10))
    assert data["mean"].iloc[0] == pytest.approx(41 - 4.5)


def test_published_tables_hold_the_counts_and_the_noise():
    assert "11 of 25" in evidence_tables.improvements_table().markdown()
    table = evidence_tables.published_luck_table()
    assert len(table.data) == 15 and "0.95 points" in table.caption


def test_three_formats_one_content(records, tmp_path):
    made = evidence_tables.paired_table(records(*three_seeds()), "cpu")
    paths = made.write(tmp_path / "tables")
    assert [p.name for p in paths] == ["paired.md", "paired.csv", "paired.tex"]
    markdown, csv, latex = (p.read_text() for p in paths)
    frame = pd.read_csv(io.StringIO(csv))
    assert frame["mean"].tolist() == [-4] and frame["profile"].tolist() == ["cpu"]
    assert "-4.00 ± 1.00 (n = 3)" in markdown and "-4.00 $\\pm$ 1.00 (n = 3)" in latex
    assert latex.count("{tabular}") == 2 and latex.count(r"\\") == 2


def test_latex_and_markdown_escape_what_they_must():
    frame = pd.DataFrame({"a_b": ["50 % | x & y", "n < 3"]})
    table = writing.Table("t", "T_1", "100 %", frame, frame)
    assert r"a\_b" in table.latex() and r"50 \% | x \& y" in table.latex() and "n $<$ 3" in table.latex()
    assert r"50 % \| x & y" in table.markdown()


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "+1.00"), (-0.001, "0.00"), (0.0, "0.00"), (-2, "-2.00"), (math.nan, "not measured")]
)
def test_signed_numbers(value, text):
    assert writing.signed(value) == text and not writing.number(-0.001).startswith("-")


@pytest.mark.parametrize(("p", "text"), [(0.25, "0.250"), (0.0004, "< 0.001"), (math.nan, "")])
def test_p_values(p, text):
    assert writing.p_value(p) == text


def test_spread_of_none_one_and_three():
    words = [writing.spread(summary(v)._asdict()) for v in ([], [4.0], [3.0, 4.0, 5.0])]
    assert words == ["not measured", "4.00 (n = 1)", "4.00 ± 1.00 (n = 3) [1.52, 6.48]"]


def test_spread_tells_diverged_from_not_measured_and_no_spread_from_certainty():
    words = [writing.spread(summary(v)._asdict() | {"diverged": k}) for v, k in (([], 3), ([4.0, 4.0], 0), ([4.0], 2))]
    assert words == ["diverged (3 of 3)", "4.00 ± 0.00 (n = 2)", "4.00 (n = 1, 2 diverged)"]


def test_the_lowest_cell_is_picked_among_those_with_enough_seeds_and_has_no_interval(tmp_path):
    """A lucky single run at 0.9 does not win against cells of three seeds."""
    runs = [record(40 + s, seed=s, beta=b) for s in range(3) for b in (0.999, 0.9999)]
    frame = profile_records(write(tmp_path, "cpu", [*runs, record(30, beta=0.9)]), "cpu")
    rows = tables.table2_rows(frame).query("dataset == 'cifar10' and imbalance_factor == 100").set_index("row")
    pick = rows.loc["class-balanced, lowest"]
    assert (pick["mean"], pick["n"]) == (41, 3) and pick["pick"].endswith("lowest of 2") and math.isnan(pick["low"])
