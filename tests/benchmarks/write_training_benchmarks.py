"""pytest-benchmark's JSON -> results/benchmarks_training.md: `python write_training_benchmarks.py IN.json OUT.md`."""

import json
import sys
from pathlib import Path

import pandas as pd

from replication.data.long_tail import long_tailed_counts
from replication.experiments.experiment import PROFILES
from replication.experiments.grids import GRIDS

SIZES = {"CIFAR-10": (5000, 10), "CIFAR-20": (2500, 20), "CIFAR-100": (500, 100)}  # images of a class, classes


def grid_hours(images_per_second: float) -> pd.DataFrame:
    """Hours that the paper's grid takes: one row per data set, hours = sum over runs of images x epochs / rate / 3600.

    The rate is that of all workers together.  Evaluation, every second epoch on 10 000 images, comes on top: a forward
    pass alone, about a seventh of the training at imbalance 100.
    """
    rows = []
    for name, (largest, classes) in SIZES.items():
        images = [sum(long_tailed_counts(largest, classes, row["imbalance_factor"])) for row in GRIDS["heat-map"]]
        total = sum(images) * PROFILES["paper"]["epochs"]
        rows.append((name, len(images), total, total / images_per_second / 3600))
    table = pd.DataFrame(rows, columns=["data set", "runs", "images", "hours"])
    table.loc[len(table)] = ["all", *table[["runs", "images", "hours"]].sum()]
    return table.astype(dict(runs=int, images=int))


def markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(data: dict) -> str:
    infos = [b["extra_info"] for b in data["benchmarks"]]
    speed = next(i for i in infos if "images_per_second" in i)
    rates, base = speed["images_per_second"], speed["images_per_second"]["straightforward"]
    on_cuda, peaks = speed["device"] != "CPU", speed["matrix_multiply"]

    def share(name: str, rate: float) -> str:
        coarse = "bfloat16" in name or (on_cuda and name.startswith("package"))
        peak = peaks["bfloat16" if coarse else "float32"]
        return f"{100 * rate * speed['operations_an_image'] / peak:.0f} %"

    def reached(name: str, rate: float) -> str:
        return ("met" if rate >= speed["goal"] * base else "missed") if name.startswith("package") else ""

    goal = f"goal, {speed['goal']}"
    ways = pd.DataFrame(
        [(n, f"{r:.0f}", f"{r / base:.2f}", reached(n, r), share(n, r)) for n, r in rates.items()],
        columns=["way", "images/s", "times the first", goal, "of the matrix-multiply rate"],
    )
    runs = sorted((i["workers"], i["threads"], i["rate"]) for i in infos if "workers" in i)
    workers = pd.DataFrame(
        [(w, t, f"{r:.0f}", f"{r / base:.2f}") for w, t, r in runs],
        columns=["runs at once", "threads each", "images/s, all", "times the straightforward loop"],
    )
    package = max(rate for name, rate in rates.items() if name.startswith("package"))
    float32 = max(rate for name, rate in rates.items() if name.startswith("package") and "bfloat16" not in name)
    best = max(package, *(r for _, _, r in runs))
    hours = grid_hours(best).assign(
        hours=lambda t: t["hours"].map("{:,.0f}".format), images=lambda t: t["images"].map("{:,}".format)
    )
    alone, limit = rates.get("the convolutions alone"), ""
    if alone:
        limit = f"""
The convolutions alone, forward and backward with torch's float32 kernels and no more, are the limit of any loop
that calls them: {alone / base:.2f} times the first.  In float32 the package is at {100 * float32 / alone:.0f} % of it;
`--precision bfloat16` calls others."""
    cpu = data["machine_info"].get("cpu", {}).get("brand_raw", "a CPU")
    where = speed["device"] if on_cuda else cpu
    return f"""# Training speed

Written by `make benchmark-training` on {where}, {speed["threads"]} cores, torch {speed["torch"]}; ResNet-32, batch 128.
The straightforward loop: torchvision transforms over PIL images in a DataLoader with 2 workers, eager, NCHW, float32.
The ways are timed in turn in one run, each in a process of its own; the best of {speed["rounds"]} rounds counts.
The package's processes keep the memory that they free, as its command line has it (`keep_memory`).

{markdown(ways)}

All are held against the first, in float32, those in bfloat16 too.
A step takes {speed["operations_an_image"] / 1e6:.0f} million floating-point operations an image; this machine
multiplies matrices at {peaks["float32"] / 1e9:.0f} billion a second in float32, {peaks["bfloat16"] / 1e9:.0f} in
bfloat16; each way is compared with its own.{limit}

Several runs at once, as `sweep --workers` has them, the cores divided between them; timed right after the table above
(compiled{"" if on_cuda else ", float32"}):

{markdown(workers)}

Hours that the paper's grid (Figures 8, 9 and 10; one seed) takes at the best rate above, {best:.0f} images/s:

{markdown(hours)}

Evaluation comes on top: every second epoch, a forward pass over 10 000 test images.
"""


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(source.read_text())))
    print(f"wrote {target}")
