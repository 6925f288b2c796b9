"""All notebooks, executed in order in the smoke profile through `reproduce`, and what they must have produced."""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from replication.cli.notebooks import NOTEBOOKS, execute, reproduce
from replication.experiments.grids import grid
from replication.experiments.records import read_records
from replication.theory import covering

NAMES = [p.stem for p in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(exit code, folder of the smoke profile's results) of one run of everything."""
    results = tmp_path_factory.mktemp("results")
    return reproduce("smoke", results, device="cpu"), results / "smoke"


def executed(run, start: str):
    path = next((run[1] / "notebooks").glob(f"{start}*.ipynb"))
    return nbformat.read(path, as_version=4)


def text_of(notebook) -> str:
    """All that the notebook shows as text."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return "\n".join(
        o.get("text", "") or "".join(o.get("data", {}).get("text/markdown", o.get("data", {}).get("text/plain", "")))
        for o in outputs
    )


def test_all_run_to_the_end(run):
    code, folder = run
    assert code == 0
    assert [p.stem for p in sorted((folder / "notebooks").glob("*.ipynb"))] == NAMES
    for name in NAMES:
        notebook = executed(run, name)
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code" and c.source.strip())
        assert not [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]


def test_pages_link_everything_and_show_the_figures(run):
    page = (run[1] / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert links and all((run[1] / link).is_file() for link in links)
    assert sum(link.endswith(".html") for link in links) == len(NAMES)
    assert sum(link.endswith(".png") for link in links) >= 20
    assert "proves the pipeline and nothing else" in page


def test_pages_tell_nothing_of_the_machine(run):
    """No absolute path of the results or the checkout, wherever the two lie; relative ones (../..) may be there."""
    folders = "|".join(re.escape(str(folder)) for folder in (run[1].parent.parent, NOTEBOOKS.parent))
    for name in NAMES:
        assert not re.search(rf"(?<!\.\.)({folders})", json.dumps(executed(run, name)))


def test_01_effective_number(run):
    figures = {p.stem for p in (run[1] / "figures").glob("*.png")}
    assert {"figure3_weights", "figure6_effective_numbers"} <= figures


def test_02_covering_check_passed(run):
    table = pd.read_csv(run[1] / "covering" / "verify.csv")
    assert len(table) > 50 and covering.check(table).passed
    assert not covering.check(covering.rescored(table, 1.2)).passed


def test_03_counts_and_pictures(run):
    assert "11203" in json.dumps(executed(run, "03"))
    assert {"figure4", "kept_images", "augmentation"} <= {p.stem for p in (run[1] / "figures").glob("*.png")}


def test_05_every_run_of_the_smoke_grid_left_a_record_far_below_chance(run):
    records = read_records(run[1] / "runs")
    assert set(records["name"]) == {e.name for e in grid("smoke", "smoke")}
    assert (records["status"] == "finished").all() and records["error"].max() < 45  # guessing: 90
    assert records["error"].equals(records["curve"].map(lambda curve: curve[-1]["error"]))


def test_06_to_08_tables_say_what_they_are(run):
    tables = run[1] / "tables"
    markdown = {p.stem: p.read_text() for p in tables.glob("*.md")}
    assert markdown and all("proves" in text for name, text in markdown.items() if "table2" in name)
    assert any("not measured" in text for text in markdown.values())
    for path in tables.glob("*.md"):
        assert path.with_suffix(".csv").is_file() and path.with_suffix(".tex").is_file()


def test_08_has_a_verdict_on_every_claim(run):
    claims = pd.read_csv(run[1] / "tables" / "claims.csv")
    assert set(claims["id"]) == {f"T{k}" for k in range(1, 7)} | {f"L{k}" for k in range(1, 5)} | {"P1", "P2"} | {
        f"R{k}" for k in range(1, 9)
    } | {"S1", "S2", "S3"}


@pytest.mark.parametrize(
    ("code", "words"),
    [("1 / 0", r"cell \d+: ZeroDivisionError: division by zero"), ("import os; os._exit(9)", "Kernel died")],
)
def test_a_failing_notebook_says_what_failed(tmp_path, code, words):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("profile = ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(code),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path / "01_wrong.ipynb"
    nbformat.write(notebook, path)
    failure = execute(path, tmp_path / "copy.ipynb", "smoke", tmp_path, Path(tmp_path), "cpu")
    assert re.match(words, failure)
    assert (tmp_path / "copy.ipynb").is_file()
