"""pip's and conda's pins in step; the files that tools need are there; no notebook holds a result or a definition."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from notebook_files import read_notebook

from replication.__main__ import main
from replication.data import sources
from replication.report.readme import PART, filled

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {"profile", "data_root", "results", "device"}


README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL", "ipykernel": "IPython"}
LOSS_ALONE = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
import torch
from replication import ClassBalancedLoss, describe_weights, long_tailed_counts
loss = ClassBalancedLoss([50, 5], beta=0.9, loss="focal", gamma=1.0)(torch.zeros(1, 2), torch.tensor([1]))
print(loss.isfinite().item(), len(describe_weights(long_tailed_counts(50, 3, 10))))
"""


def names(extra: str | None) -> set[str]:
    """The requirements of an extra and of the extras that it includes; of the base if None."""
    found = set()
    for line in PROJECT["dependencies"] if extra is None else EXTRAS[extra]:
        if inner := re.fullmatch(r"class-balanced-replication\[([\w,]+)\]", line):
            found |= set().union(*(names(name) for name in inner[1].split(",")))
        else:
            found.add(line)
    return found


def pins(lines) -> dict[str, str]:
    return dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?(>=[\d.]+)", line).groups() for line in lines)


def modules(lines) -> set[str]:
    return {IMPORTED_AS.get(name, name) for name in pins(lines)}


def run(*arguments, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}
    )


def test_base_is_torch_and_numpy():
    assert set(pins(PROJECT["dependencies"])) == {"torch", "numpy"}
    assert names("all") == set().union(*(names(extra) for extra in EXTRAS))


def test_environment_yml_has_the_pins_of_pyproject():
    wanted = pins(names(None) | names("test"))
    wanted["pytorch"] = wanted.pop("torch")  # conda's name for it
    wanted["python"] = PROJECT["requires-python"]
    found = pins(re.findall(r"^  - (\S+>=\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert found == wanted


def test_every_library_that_the_package_imports_is_declared():
    used = set()
    for path in (ROOT / "replication").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add(node.module.split(".")[0])
    declared = modules(names(None) | names("notebooks") | names("cluster"))
    declared |= {"ipykernel"} | {"traitlets", "jupyter_client", "zmq"}  # nbclient brings the latter
    assert used - set(sys.stdlib_module_names) - {"replication"} <= declared


def test_loss_works_with_torch_and_numpy_alone():
    blocked = modules(names("all")) - {"torch", "numpy"}
    assert {"pandas", "scipy", "torchvision"} <= blocked
    answer = run("-c", LOSS_ALONE.format(blocked=sorted(blocked)))
    assert answer.stdout.split() == ["True", "4"], answer.stderr


@pytest.mark.parametrize(
    ("arguments", "extra", "missing"),
    [
        ("large-scale --dataset folder --data-root .", "train", "torchvision"),
        ("report", "report", "pandas"),
        ("covering", "report", "pandas"),
        ("reproduce", "notebooks", "nbformat"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(arguments, extra, missing, tmp_path):
    blocked = sorted(modules(names(extra)) - {"torch", "numpy"})
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\nfrom replication.__main__ import main\n"
    places = [] if arguments == "covering" else ["--results", str(tmp_path)]
    answer = run("-c", f"{code}sys.exit(main({[*arguments.split(), *places]!r}))")
    assert answer.returncode == 2 and f"[{extra}]" in answer.stderr, answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["train --profile smoke --epochs 1", "sweep smoke --profile smoke"])
def test_scikit_learn_s_digits_need_it(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("replication.training.sweep.task._load", sources.load)  # nothing that is loaded already
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main([*arguments.split(), "--results", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "[train]" in line and "sklearn" in line


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["weights", "50", "5"]])
def test_base_install_has_help_and_weights(arguments):
    blocked = sorted(modules(names("all")) - {"numpy"})  # not even torch
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\nfrom replication.__main__ import main\n"
    answer = run("-c", f"{code}sys.exit(main({arguments!r}))")
    assert answer.returncode == 0, answer.stderr


def test_the_unrelated_package_of_the_same_name_is_refused(tmp_path):
    """Installed before this one it leaves its metadata; installed after, its own __init__.py."""
    shutil.copytree(ROOT / "replication", tmp_path / "replication", ignore=shutil.ignore_patterns("__pycache__"))
    assert not run("-c", "import replication", cwd=tmp_path, PYTHONPATH=str(tmp_path)).returncode
    (tmp_path / "replication-0.9.10.dist-info").mkdir()
    answer = run("-c", "import replication", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "ImportError: replication 0.9.10" in answer.stderr and "environment" in answer.stderr
    (tmp_path / "replication" / "__init__.py").write_text("")
    answer = run("-m", "replication", "--version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2 and len(answer.stderr.splitlines()) == 1 and "unrelated" in answer.stderr


def test_ci_and_readme_call_one_test_command():
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert "make test" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_all_notebooks_are_there_in_order():
    assert [p.stem[:2] for p in NOTEBOOKS] == [f"{n + 1:02d}" for n in range(len(NOTEBOOKS))] and len(NOTEBOOKS) >= 9


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_thin_and_committed_without_outputs(path):
    import nbformat

    notebook = read_notebook(path)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    tagged = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1 and set(re.findall(r"^(\w+) =", tagged[0].source, re.MULTILINE)) == PARAMETERS
    for cell in code:
        assert not cell.outputs and cell.execution_count is None
        assert not re.search(r"^\s*(async def|def|class)\s", cell.source, re.MULTILINE)
        assert len(cell.source.splitlines()) <= 30


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_readme_says_which_of_the_paper_s_figures_and_tables_a_notebook_has(path):
    [line] = re.findall(rf"^- \[.*\]\(notebooks/{path.name}\) (.*)$", README, re.MULTILINE)
    text = "\n".join(c.source for c in read_notebook(path).cells)
    for kind, *numbers in re.findall(r"(Figure|Table)s? (\d+)(?: and (\d+))?", line):
        for number in filter(None, numbers):
            assert re.search(rf"{kind}s? (\d+ and )?{number}\b", text), f"{kind} {number}"


def test_readme_answers_in_one_screen():
    """Words: whatever holds a letter or digit, as `wc -w` counts them, without the bars of tables."""
    assert 550 <= len([word for word in README.split() if re.search(r"\w", word)]) <= 650


def test_readme_shows_the_answers_of_the_results():
    """Its marked parts are the answers, the first figure and the table on beta of results/README.md."""
    page = (ROOT / "results" / "README.md").read_text()
    for text in (page, README):
        assert [part["name"] for part in PART.finditer(text)] == ["answers", "betas"]
    assert filled(README, page, "results/") == README, "run `python -m replication report`"
    assert len(re.findall(r"^\| .* \|$", README.split("<!--/answers-->")[0], re.MULTILINE)) == 2 + 7


def test_readme_s_number_on_the_reduction_is_that_of_the_weights():
    from replication import describe_weights, long_tailed_counts

    [row] = describe_weights(long_tailed_counts(5000, 10, 100), [0.9999])
    said = re.search(r"imbalance 100 and beta 0\.9999 this makes the\W+gradient ([\d.]+) times smaller", README)
    assert said[1] == f"{1 / row.mean_weight:.2f}"


def test_public_names_and_nothing_else():
    import replication

    theory = {"effective_number", "class_balanced_weights", "class_counts", "describe_weights"}
    theory |= {"beta_from_volume", "volume_from_beta"}
    losses = {"softmax_cross_entropy", "sigmoid_cross_entropy", "ClassBalancedLoss"}
    losses |= {"sigmoid_focal_loss", "softmax_focal_loss", "balanced_softmax_loss"}
    assert set(replication.__all__) == theory | losses | {"long_tailed_counts"}
    for name in replication.__all__:
        assert callable(getattr(replication, name)) and ">>>" in getattr(replication, name).__doc__
    with pytest.raises(AttributeError):
        _ = replication.nothing


def test_version_is_one():
    import replication

    assert PROJECT["dynamic"] == ["version"]
    assert f'__version__ = "{replication.__version__}"' in (ROOT / "replication" / "__init__.py").read_text()
    assert re.search(rf"^version: {replication.__version__}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert re.search(rf"^## {replication.__version__}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert run("-m", "replication", "--version").stdout.strip() == replication.__version__


def test_types_and_lazy_names_agree():
    """Editors read the names under TYPE_CHECKING; users get those of __all__."""
    import replication

    tree = ast.parse((ROOT / "replication" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    shown = {alias.name: node.module for node in block.body for alias in node.names}
    assert shown == {name: f"replication.{home}" for name, home in replication._HOME.items()}
    assert set(replication.__all__) == set(shown)
