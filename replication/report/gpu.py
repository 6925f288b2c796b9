"""The page on GPUs: the results of `check-gpu` on the GPU that was available, and the time of the runs on it."""

import json
from pathlib import Path

import pandas as pd

from replication.files import write_text

FOLDER = "gpu"
PASSED = {True: "yes", False: "**no**"}
UNMEASURED = "Not run on a GPU: the plain loop (DataLoader, eager, float32) with which the speed is to be compared."


def write_gpu_page(results: Path | str, records: pd.DataFrame) -> list[Path]:
    """Write RESULTS/gpu/README.md from RESULTS/gpu/check.json and the records of runs on CUDA; [] without a check.

    Args:
        results: the folder of results.
        records: of full-protocol runs.
    """
    folder = Path(results) / FOLDER
    if not (folder / "check.json").is_file():
        return []
    found = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    lines = [
        "# On a GPU",
        "",
        f"Generated from check.json, which `python -m replication check-gpu` wrote on one {found['device']} "
        f"(torch {found['torch']}), and from the records.",
        "",
        "| check | passed | what was compared |",
        "| --- | --- | --- |",
        *(f"| {name} | {PASSED[ok]} | {found['details'][name]} |" for name, ok in found["checks"].items()),
        "",
        "| measured | value |",
        "| --- | --- |",
        *(f"| {name} | {value:,} |" for name, value in found["numbers"].items()),
        "",
        *_runs(records),
        UNMEASURED,
        "",
    ]
    return [folder / "check.json", write_text(folder / "README.md", "\n".join(lines))]


def _runs(records: pd.DataFrame) -> list[str]:
    """The runs on CUDA, a line for each device and number of runs at once."""
    on_cuda = records[records["device"].str.contains("NVIDIA", regex=False)] if len(records) else records
    if not len(on_cuda):
        return []
    kinds = on_cuda.groupby(["device", "concurrent_runs", "compiled"], dropna=False)
    rows = [
        f"| {device} | {at_once:g} | {compiled} | {len(runs)} | {runs['wall_seconds'].median():.0f} |"
        for (device, at_once, compiled), runs in kinds
    ]
    head = ["| device | runs at once | compiled | runs of 200 epochs | seconds a run, median |", "| --- " * 5 + "|"]
    return [*head, *rows, ""]
