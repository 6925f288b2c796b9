"""All notebooks, executed in order in the smoke profile through `reproduce`, and what they must have produced."""

import json
import re
import shutil

import pandas as pd
import pytest
from notebook_files import read_notebook

from replication.cli.notebooks import NOTEBOOKS, execute
from replication.experiments.grids import grid
from replication.experiments.records import read_records
from replication.report.claims.statements import read_evidence, statements
from replication.theory import covering

NAMES = [p.stem for p in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]


def executed(reproduced, start: str):
    return read_notebook(next((reproduced[1] / "notebooks").glob(f"{start}*.ipynb")))


def drawn(reproduced) -> set[str]:
    """The names of the figures that the notebooks saved: beside their copies, where git ignores them."""
    return {path.stem for path in (reproduced[1] / "notebooks" / "figures").glob("*.png")}


def text_of(notebook) -> str:
    """All that the notebook shows as text."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return "\n".join(
        o.get("text", "") or "".join(o.get("data", {}).get("text/markdown", o.get("data", {}).get("text/plain", "")))
        for o in outputs
    )


def test_all_run_to_the_end(reproduced):
    code, folder = reproduced
    assert code == 0
    assert [p.stem for p in sorted((folder / "notebooks").glob("*.ipynb"))] == NAMES
    for name in NAMES:
        notebook = executed(reproduced, name)
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code" and c.source.strip())
        assert not [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]


def test_pages_link_everything_and_show_the_figures(reproduced):
    page = (reproduced[1] / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert links and all((reproduced[1] / link).is_file() for link in links)
    assert sum(link.endswith(".html") for link in links) == len(NAMES)
    assert sum(link.endswith(".png") for link in links) >= 20
    assert "proves the pipeline and nothing else" in page


def test_pages_tell_nothing_of_the_machine(reproduced):
    """No absolute path of the results or the checkout, wherever the two lie; relative ones (../..) may be there."""
    folders = "|".join(re.escape(str(folder)) for folder in (reproduced[1].parent.parent, NOTEBOOKS.parent))
    for name in NAMES:
        assert not re.search(rf"(?<!\.\.)({folders})", json.dumps(executed(reproduced, name)))


def test_01_effective_number(reproduced):
    assert {"figure3_weights", "figure6_effective_numbers"} <= drawn(reproduced)


def test_02_covering_check_passed(reproduced):
    table = pd.read_csv(reproduced[1] / "covering" / "verify.csv")
    assert len(table) > 50 and covering.check(table).passed
    assert not covering.check(covering.rescored(table, 1.2)).passed


def test_03_counts_and_pictures(reproduced):
    assert "11203" in json.dumps(executed(reproduced, "03"))
    assert {"figure4", "kept_images", "augmentation"} <= drawn(reproduced)


def test_05_every_run_of_the_smoke_grid_left_a_record_far_below_chance(reproduced):
    records = read_records(reproduced[1] / "runs")
    assert set(records["name"]) == {e.name for e in grid("smoke", "smoke")}
    assert (records["status"] == "finished").all() and records["error"].max() < 45  # guessing: 90
    assert records["error"].equals(records["curve"].map(lambda curve: curve[-1]["error"]))


def test_05_tables_say_what_they_are(reproduced):
    tables = reproduced[1] / "tables"
    assert (tables / "heat_map_digits.md").is_file()
    for path in tables.glob("*.md"):
        assert "proves the pipeline" in path.read_text()
        assert path.with_suffix(".csv").is_file() and path.with_suffix(".tex").is_file()


@pytest.mark.parametrize("start", ["06", "07", "08", "10"])
def test_06_to_10_show_the_committed_records(reproduced, start):
    shown = text_of(executed(reproduced, start))
    assert "**Answer.**" in shown
    assert start == "10" or "CIFAR-10" in shown


def test_records_of_the_short_study_are_shown_without_data(tmp_path):
    records = NOTEBOOKS.parent / "results" / "cpu" / "runs"
    shutil.copytree(records, tmp_path / "results" / "cpu" / "runs")
    notebook, copy = next(NOTEBOOKS.glob("05*.ipynb")), tmp_path / "05.ipynb"
    assert execute(notebook, copy, "cpu", tmp_path / "results", None, "cpu") is None
    finished = (read_records(records)["status"] == "finished").sum()
    assert f"**Answer.** Yes: {finished} finished runs" in text_of(read_notebook(copy))


def test_digits_appear_in_05_alone(reproduced):
    assert [name for name in NAMES if "digits" in text_of(executed(reproduced, name))] == [NAMES[4]]


def test_notebooks_show_text_and_no_python_objects(reproduced):
    objects = re.compile(r"\b(Statement|Weighing|Finding|Answer|Evidence|Profile)\(\w+=")
    assert not [name for name in NAMES if objects.search(text_of(executed(reproduced, name)))]


def test_08_says_what_the_front_page_says(reproduced):
    shown, page = text_of(executed(reproduced, "08")), (NOTEBOOKS.parent / "results" / "README.md").read_text()
    weighed = statements(read_evidence(NOTEBOOKS.parent / "results"))
    assert all(s.bottom_line in shown for s in weighed)
    rows = [line for line in page.splitlines() if line.startswith("| ") and "**" in line]
    assert len(rows) >= 5 and all(re.search(r"\*\*.*\*\*", row)[0] in shown for row in rows)


def test_every_notebook_opens_with_a_question_and_ends_with_a_take_away(reproduced):
    for name in NAMES:
        cells = executed(reproduced, name).cells
        assert "> **Question.**" in cells[0].source and "How to read it" in cells[0].source
        assert cells[-1].source.startswith("**Take-away.**") and "> **Answer.**" in text_of(executed(reproduced, name))
        code = [c.source for c in cells if c.cell_type == "code"]
        assert not [source for source in code if re.search(r"^(def|class) ", source, re.M)]


def test_pages_fold_the_setup_and_leave_out_what_only_formats_text(reproduced):
    """Notebook 08 has setup and text cells alone: no code is left but that folded away."""
    page = next((reproduced[1] / "notebooks").glob("08*.html")).read_text()
    notebook = executed(reproduced, "08")
    folded = [c for c in notebook.cells if {"fold", "injected-parameters"} & set(c.metadata.get("tags", []))]
    assert page.count("<details>") == len(folded) == 3
    assert page.count('<div class="highlight hl-ipython3">') == len(folded)
