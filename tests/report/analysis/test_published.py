"""The printed numbers as package data: sizes, agreement of the paper's tables with each other."""

import pytest

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis import published as paper


@pytest.mark.parametrize("dataset", ["cifar10", "cifar20", "cifar100"])
def test_heat_maps_hold_each_of_the_125_cells_once(dataset):
    cells = paper.heat_map(dataset)
    keys = set(zip(cells["label"], cells["beta"], cells["imbalance_factor"], strict=True))
    assert len(cells) == 125 and keys == {(x, b, f) for x in paper.LABELS for b in BETAS for f in IMBALANCE_FACTORS}
    assert cells["error"].between(5, 80).all()


def test_unknown_heat_map_is_refused_by_name():
    with pytest.raises(ValueError, match="dataset must be one of cifar10, cifar20, cifar100, got 'mnist'"):
        paper.heat_map("mnist")


def test_heat_map_minima_give_table_2s_class_balanced_row_with_its_loss_beta_and_gamma():
    """Table 2, row "Class-Balanced": lowest of 20 in each column of Figures 8 and 10."""
    keys = ["dataset", "imbalance_factor"]
    row = paper.table2().query("row == 'class_balanced' and imbalance_factor > 1").set_index(keys).sort_index()
    best = paper.lowest(paper.heat_maps().query("dataset != 'cifar20'")).set_index(keys).sort_index()
    assert len(row) == 10 and (best["of"] == 20).all()
    for column in ("error", "loss", "beta", "label"):
        assert best[column].tolist() == row[column].tolist(), column
    assert best["gamma"].fillna(-1).tolist() == row["gamma"].fillna(-1).tolist()


def test_plain_rows_of_table_2_are_the_plain_rows_of_the_heat_maps():
    keys = ["dataset", "label", "imbalance_factor"]
    table = paper.table2().query("row != 'class_balanced' and imbalance_factor > 1").set_index(keys)["error"]
    maps = paper.heat_maps().query("beta == 0").set_index(keys)["error"]
    assert len(table) == 50 and (maps.reindex(table.index) == table).all()


def test_difference_to_plain_by_hand():
    """Figure 8, softmax at imbalance 200: 34.32 plain, 31.11 at 0.9999."""
    cells = paper.difference_to_plain(paper.heat_map("cifar10")).set_index(["label", "beta", "imbalance_factor"])
    assert len(cells) == 100
    assert cells.loc[("softmax", 0.9999, 200.0), "difference"] == pytest.approx(31.11 - 34.32)


def test_a_cell_without_its_plain_partner_has_no_difference():
    alone = paper.heat_map("cifar10").query("beta > 0")
    assert paper.difference_to_plain(alone)["difference"].isna().all()


def test_reruns_are_the_accuracies_of_the_authors_issue_5():
    """Accuracy percent there: softmax 75.98, CB 79.18, sigmoid 77.17, 79.22, focal 75.30, 79.42; a user 77.45, 77.5."""
    assert sorted((100 - paper.reruns()["error"]).round(2)) == [75.30, 75.98, 77.17, 77.45, 77.5, 79.18, 79.22, 79.42]


def test_tables_1_and_3():
    table = paper.published("table1").set_index("dataset")
    assert table.loc["iNaturalist 2018", "classes"] == 8142
    best = paper.published("table3").query("input == 320 and net == 'ResNet-152'").iloc[0]
    assert (best["inat18_top1"], best["ilsvrc_top5"]) == (30.95, 4.97)


def test_callers_cannot_change_what_others_read():
    mine = paper.published("table1")
    mine["classes"] = 0
    assert (paper.published("table1")["classes"] > 0).all()
