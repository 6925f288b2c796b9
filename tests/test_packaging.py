"""pip's and conda's pins in step; the files that tools need are there; no notebook holds a result or a definition."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {"profile", "data_root", "results", "device"}


def pins(lines) -> dict[str, str]:
    return dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?(>=[\d.]+)", line).groups() for line in lines)


def test_environment_yml_has_the_pins_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = pins(project["dependencies"] + project["optional-dependencies"]["test"])
    wanted["pytorch"] = wanted.pop("torch")  # conda's name for it
    wanted["python"] = project["requires-python"]
    found = pins(re.findall(r"^  - (\S+>=\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert found == wanted


def test_ci_and_readme_call_one_test_command():
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert "make test" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_all_notebooks_are_there_in_order():
    assert [p.stem[:2] for p in NOTEBOOKS] == [f"{n:02d}" for n in range(1, 10)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_thin_and_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    tagged = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1 and set(re.findall(r"^(\w+) =", tagged[0].source, re.MULTILINE)) == PARAMETERS
    for cell in code:
        assert not cell.outputs and cell.execution_count is None
        assert not re.search(r"^\s*(async def|def|class)\s", cell.source, re.MULTILINE)
        assert len(cell.source.splitlines()) <= 30
        assert all(len(line) <= 110 for line in cell.source.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_readme_s_table_says_which_of_the_paper_s_figures_a_notebook_has(path):
    [row] = re.findall(
        rf"^\| \[.*\]\(notebooks/{path.name}\) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)
    for first, last in re.findall(r"Figures? (\d+)(?: and (\d+))?", row):
        for number in filter(None, (first, last)):
            assert re.search(rf"Figure {number}\b", text), f"Figure {number}"


def test_public_names_and_nothing_else():
    import replication

    theory = {"effective_number", "class_balanced_weights", "class_counts", "beta_from_volume", "volume_from_beta"}
    losses = {"softmax_cross_entropy", "sigmoid_cross_entropy", "ClassBalancedLoss"}
    losses |= {"sigmoid_focal_loss", "softmax_focal_loss", "balanced_softmax_loss"}
    assert set(replication.__all__) == theory | losses | {"long_tailed_counts"}
    for name in replication.__all__:
        assert callable(getattr(replication, name))
    with pytest.raises(AttributeError):
        _ = replication.nothing


def test_version_is_one():
    import replication

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert replication.__version__ == project["version"]
    answer = subprocess.run(
        [sys.executable, "-m", "replication", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.stdout.strip() == project["version"]
