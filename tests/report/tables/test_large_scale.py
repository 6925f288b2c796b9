"""Table 3 beside our records, what it costs, iNaturalist's counts, Figure 7."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from replication.experiments.large_scale import LargeScaleExperiment, LargeScaleRecord, table3_rows
from replication.report.analysis import large_scale
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.published import class_counts
from replication.report.claims.statements import Evidence
from replication.report.figures import training as figures
from replication.report.site import all_tables
from replication.report.tables import large_scale as tables


def _record(error, curve=None, counts=None, **fields):
    """A record of the paper's budget on the whole data set (only the sum and number of its counts matter)."""
    e = LargeScaleExperiment(**fields)
    row = paper.published("table1").set_index("dataset").loc[tables.TITLES[e.dataset]]
    if counts is None:
        counts = [1] * (int(row["classes"]) - 1)
        counts = [int(row["train_images"]) - len(counts), *counts]
    return LargeScaleRecord(
        e,
        "finished",
        error,
        error,
        90,
        None,
        list(map(str, range(len(counts)))),
        counts,
        curve or [dict(epoch=90, error=error, top5_error=error / 4)],
        4000.0,
        1.0,
        "0",
        "0",
        "GPU (test)",
        1,
        "bfloat16 autocast",
        False,
        "2",
        "0",
        None,
        None,
        "",
        top5_error=error / 4,
        processes=8,
        global_batch=e.batch_size,
        micro_batch=128,
        test_images=int(row["test_images"]),
    )


FOCAL = dict(loss="focal", gamma=0.5, beta=0.999)


def _frame(tmp_path, records):
    for record in records:
        record.write(tmp_path / "large-scale" / "runs")
    return large_scale_records(tmp_path)


def _pairs(differences, dataset="inat2018", depth=50, curves=None):
    """Softmax at 43 and CB focal at 43 + difference, a seed for each; the curves' ends move a little with the seed."""
    plain, balanced = curves or (None, None)
    records = []
    for seed, difference in enumerate(differences):
        records += [
            _record(43.0, plain, dataset=dataset, depth=depth, seed=seed),
            _record(
                43.0 + difference,
                balanced and _moved(balanced, 0.1 * seed),
                dataset=dataset,
                depth=depth,
                seed=seed,
                **FOCAL,
            ),
        ]
    return records


def test_without_records_table3_holds_the_54_published_numbers_and_nothing_measured(tmp_path):
    data = tables.table3_cells(_frame(tmp_path, []))
    printed = paper.published("table3").drop(columns=["net", "loss", "beta", "gamma", "input"])
    assert len(data) == 54 and sorted(data["published"]) == sorted(printed.to_numpy().ravel())
    assert data["mean"].isna().all() and (data["n"] == 0).all()
    assert set(tables.table3(_frame(tmp_path, [])).shown["source"]) == {"paper"}
    row = data.query("dataset == 'inat2018' and depth == 101 and size == 320 and measure == 'top5'").iloc[0]
    assert row["published"] == 14.27 and row["label"] == "focal 0.5"


def test_measured_stands_beside_published_in_its_own_cell(tmp_path):
    records = [_record(e, dataset="inat2017", depth=152, seed=s, **FOCAL) for s, e in enumerate((38.0, 39.0))]
    data = tables.table3_cells(_frame(tmp_path, records))
    (top1, top5) = data[data["n"] > 0].to_dict("records")
    assert (top1["dataset"], top1["depth"], top1["size"], top1["measure"], top1["published"]) == (
        "inat2017",
        152,
        224,
        "top1",
        38.06,
    )
    assert (top1["mean"], top1["n"], top1["seeds"]) == (38.5, 2, "0 1") and top5["mean"] == pytest.approx(38.5 / 4)


@pytest.mark.parametrize(
    "fields, changes",
    [
        (dict(epochs=2), {}),
        (dict(batch_size=512), {}),
        (dict(weight_decay=0.0), {}),
        (dict(base_learning_rate=0.3), {}),
        ({}, dict(class_counts=[5, 3], class_names=["a", "b"])),
        ({}, dict(skipped_images=1)),
        ({}, dict(test_images=24425)),
        ({}, dict(status="diverged", error=None, top5_error=None)),
    ],
)
def test_other_budgets_and_partial_data_are_in_no_cell(tmp_path, fields, changes):
    records = _frame(tmp_path, [replace(_record(43.0, dataset="inat2018", **fields), **changes)])
    assert len(records) == 1 and not tables.table3_cells(records)["n"].any()
    assert len(tables.runs_table(records).shown) == 1


def test_a_folder_is_no_data_set_of_the_papers(tmp_path):
    e = LargeScaleExperiment("folder", 18)
    record = replace(_record(43.0, dataset="inat2018"), experiment=e)
    assert not _frame(tmp_path, [record])["paper_run"].any()


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_multiply_adds_are_those_torchvision_lists(depth):
    from torchvision import models

    weights = getattr(models, f"ResNet{depth}_Weights").IMAGENET1K_V1
    assert large_scale.OPERATIONS[depth] == pytest.approx(weights.meta["_ops"], abs=0.001)


def test_cost_is_epochs_times_images_over_the_rate():
    table = tables.cost_table()
    hours = table.data.set_index(["dataset", "depth", "size", "loss"])["gpu_hours"]
    assert hours["inat2018", 50, 224, "focal"] == pytest.approx(90 * 437513 / tables.ASSUMED_RATE / 3600)
    larger = hours["inat2018", 50, 320, "focal"] / hours["inat2018", 50, 224, "focal"]
    assert larger == pytest.approx((320 / 224) ** 2, rel=1e-3)
    assert "assumed, not measured" in table.caption and len(table.data) == len(table3_rows())


@pytest.mark.parametrize("dataset, title", [("inat2017", "iNaturalist 2017"), ("inat2018", "iNaturalist 2018")])
def test_inaturalist_counts_are_table1s(dataset, title):
    counts, row = class_counts(dataset), paper.published("table1").set_index("dataset").loc[title]
    assert (len(counts), counts.sum()) == (int(row["classes"]), int(row["train_images"]))
    assert (
        counts[0] / counts[-1] == pytest.approx(float(row["imbalance_factor"]), abs=0.005)
        and (np.diff(counts) <= 0).all()
    )
    with pytest.raises(ValueError, match="dataset must be inat2017 or inat2018, got 'cifar10'"):
        class_counts("cifar10")


def _moved(curve, by):
    return [row | dict(error=row["error"] + by * (row["epoch"] > 60)) for row in curve]


def _curve(before, after):
    return [
        dict(epoch=k, error=before if k <= 60 else after, top5_error=1.0, learning_rate=0.1, training_loss=1.0)
        for k in range(1, 91)
    ]


def test_figure7_draws_curves_where_there_are_runs(tmp_path):
    assert figures.figure7(_frame(tmp_path, [])) is None
    records = _frame(tmp_path, _pairs((-4.0,), curves=(_curve(59.0, 43.0), _curve(60.0, 39.0))))
    drawn = figures.figure7(records)
    curves = [line for line in drawn.axes[1].lines if len(line.get_xdata()) == 90]
    assert sorted(line.get_ydata()[-1] for line in curves) == [39.0, 43.0]
    ends = [line.get_ydata()[0] for line in drawn.axes[1].lines if list(line.get_xdata()) == [90]]
    assert sorted(ends) == [38.88, 42.86]  # Table 3


def test_tables_are_written_and_runs_stand_beside_print(tmp_path):
    seen = Evidence(large_scale=_frame(tmp_path, _pairs((-4.0,))))
    made = all_tables({}, seen)["large-scale"]
    assert [table.name for table in made] == ["table3", "large_scale_cost", "large_scale_runs"]
    written = pd.read_csv(made[0].write(tmp_path)[1]).query("n > 0")
    assert written["published"].tolist() == [42.86, 21.31, 38.88, 18.97]
