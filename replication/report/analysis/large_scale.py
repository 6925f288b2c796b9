"""The numbers of large-scale runs: Table 3, Figure 7 and the cost."""

from itertools import product
from pathlib import Path

import pandas as pd

from replication.experiments.experiment import loss_label
from replication.experiments.large_scale import PROFILE, LargeScaleExperiment, LargeScaleRecord, table3_rows
from replication.experiments.records import read_records
from replication.report.analysis import published as paper
from replication.report.analysis.measured import seed_list, summaries, with_labels
from replication.report.analysis.published import TITLES

BALANCED = "focal 0.5"
KEYS = ["dataset", "depth", "seed"]
SPLIT = 60  # epochs; statement S3
COLUMNS = {"inat2017": "inat17", "inat2018": "inat18", "ilsvrc2012": "ilsvrc"}  # of published/table3.csv
CELL = ["dataset", "depth", "size", "label", "beta"]
MEASURES = {"top1": "error", "top5": "top5_error"}  # a measure of Table 3: the field of our records
BUDGET = ("epochs", "batch_size", "base_learning_rate", "weight_decay")  # fields of every run of the paper's protocol
ASSUMED_RATE = 2500.0  # training images a second of ResNet-50 at 224 on one current data-centre GPU: not measured
# Multiply-adds (10^9) of one forward pass at 224 by depth: `_ops` of torchvision's weights metadata.
OPERATIONS = {50: 4.089, 101: 7.801, 152: 11.514}


def paper_runs(records: pd.DataFrame, label: str) -> pd.DataFrame:
    """Return finished paper runs at 224 of softmax (beta 0) or CB focal (0.999, 0.5), by data set, depth and seed."""
    keep = records["paper_run"] & (records["status"] == "finished") & (records["size"] == 224)
    keep &= (records["label"] == label) & (records["beta"] == (0.999 if label == BALANCED else 0.0))
    return records[keep].set_index(KEYS).sort_index()


def pairs(records: pd.DataFrame) -> pd.DataFrame:
    """Return CB focal minus softmax, top-1 in points, by data set, depth and seed; negative is better."""
    balanced, plain = (paper_runs(records, label)["error"].astype(float) for label in (BALANCED, "softmax"))
    return (balanced - plain).dropna().rename("difference").reset_index()


def large_scale_records(results: Path | str) -> pd.DataFrame:
    """Read RESULTS/large-scale/runs, with the loss's `label` and whether each is a `paper_run`."""
    records = with_labels(read_records(Path(results) / PROFILE / "runs", LargeScaleRecord))
    whole = [_is_paper_run(row) for row in records.to_dict("records")]
    return records.assign(paper_run=pd.Series(whole, index=records.index, dtype=bool))


def _is_paper_run(row: dict) -> bool:
    """Whether a run has the paper's budget and Table 1's numbers of classes and images, none of them skipped."""
    if row["dataset"] not in COLUMNS or row["skipped_images"]:
        return False
    wanted, counts = paper.published("table1").set_index("dataset").loc[TITLES[row["dataset"]]], row["class_counts"]
    protocol = LargeScaleExperiment(row["dataset"], loss=row["loss"], gamma=0.5 if row["loss"] == "focal" else None)
    budget = all(row[name] == getattr(protocol, name) for name in BUDGET)
    tested = row["status"] != "finished" or row["test_images"] == int(wanted["test_images"])  # diverged: no counts
    return budget and tested and (len(counts), sum(counts)) == (int(wanted["classes"]), int(wanted["train_images"]))


def table3_cells(records: pd.DataFrame) -> pd.DataFrame:
    """Return the 54 numbers of Table 3: published, and mean, sd, n, low, high of ours (NaN, n = 0 if not measured)."""
    printed = paper.published("table3").assign(plain=lambda t: t["loss"] == "Softmax")
    printed = printed.set_index(["net", "input", "plain"])
    rows = []
    for e, measure in product(table3_rows(), MEASURES):
        published = printed.at[(f"ResNet-{e.depth}", e.size, e.loss == "softmax"), f"{COLUMNS[e.dataset]}_{measure}"]
        cell = (e.dataset, e.depth, e.size, loss_label(e.loss, e.gamma), e.beta)
        rows.append(dict(zip(CELL, cell, strict=True)) | dict(measure=measure, published=published))
    done = records[records["paper_run"] & (records["status"] == "finished")]
    ours = [summaries(done, CELL, name, seeds=seed_list).assign(measure=measure) for measure, name in MEASURES.items()]
    columns = [*CELL, "measure", "n", "seeds", "mean", "sd", "low", "high"]
    table = pd.DataFrame(rows).merge(pd.concat(ours)[columns], on=[*CELL, "measure"], how="left")
    return table.fillna({"n": 0, "seeds": ""}).astype({"n": int})


def relative_work(depth: int, size: int) -> float:
    """Return the multiply-adds of one image's forward pass, which grow with its area, relative to ResNet-50 at 224.

    >>> relative_work(50, 448)
    4.0
    """
    return OPERATIONS[depth] / OPERATIONS[50] * (size / 224) ** 2
