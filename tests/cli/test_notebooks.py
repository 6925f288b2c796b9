"""One notebook executed: in this interpreter, from any folder, beside others, with the first error reported."""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from notebook_files import hold_kernel, read_notebook, run_notebook, write_notebook
from sweep_processes import wait_for

from replication.cli import notebooks
from replication.cli.kernels import CONTEXT, FORKS, imports
from replication.cli.notebooks import write_html
from replication.report.tables.table import Table

CODE = "import sys; print(sys.executable)"


def notebook_of(folder: Path, code: str = CODE) -> Path:
    return write_notebook(folder / "01_test.ipynb", code)


def run(notebook: Path, folder: Path) -> str | None:
    folder.mkdir(parents=True, exist_ok=True)
    return run_notebook(notebook, folder)


def printed(folder: Path) -> str:
    return read_notebook(folder / "copy.ipynb").cells[-1].outputs[0]["text"].strip()


def test_another_kernel_of_that_name_is_not_used(tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/no/such/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps(dict(argv=argv, display_name="Python 3", language="python")))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert run(notebook_of(tmp_path), tmp_path) is None
    assert printed(tmp_path) == sys.executable


@pytest.mark.parametrize("name", ["run{1}", "{profile} {{a b'\"ü%s[1]"])
def test_the_results_may_lie_anywhere(tmp_path, name):
    assert run(notebook_of(tmp_path), tmp_path / name) is None
    assert printed(tmp_path / name) == sys.executable


def test_nothing_is_written_beside_the_notebook(tmp_path):
    """Its folder may be one that cannot be written."""
    notebook = notebook_of(tmp_path / "books", CODE + "; import os; print(os.listdir('.'))")
    assert run(notebook, tmp_path / "results") is None
    assert printed(tmp_path / "results").endswith("['01_test.ipynb']")


def test_a_long_temporary_folder_has_no_room_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 80)  # characters of a path; a socket's may have about 100
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert run(notebook_of(tmp_path), tmp_path) is None
    assert printed(tmp_path) == sys.executable and not os.listdir(long)


def test_the_server_imports_what_the_notebooks_of_the_folder_import(tmp_path):
    write_notebook(tmp_path / "01_one.ipynb", "import numpy as np\nif True:\n    from pandas import DataFrame")
    write_notebook(tmp_path / "02_wrong.ipynb", "import torch as")
    write_notebook(tmp_path / "draft.ipynb", "import torch")
    assert imports(tmp_path) == ["numpy", "pandas", "pandas.DataFrame"]


@pytest.mark.skipif(not FORKS, reason="kernels are no forks here")
def test_a_kernel_ends_with_the_process_that_started_it(tmp_path):
    process = CONTEXT.Process(target=hold_kernel, args=(tmp_path,))
    process.start()
    wait_for((tmp_path / "c.json").is_file)  # the kernel has written it
    kernel = Path("/proc", (tmp_path / "pid").read_text())
    assert kernel.exists()
    process.kill()
    wait_for(lambda: not kernel.exists())


def test_two_at_once_from_one_folder(tmp_path):
    notebook = notebook_of(tmp_path / "books", f"import time; time.sleep(0.5); {CODE}")
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda name: run(notebook, tmp_path / name), "ab")) == [None, None]
    assert [printed(tmp_path / name) for name in "ab"] == [sys.executable] * 2


def test_an_executed_notebook_holds_no_progress_bar(tmp_path):
    """In a process of its own: here a server may run already, and tqdm is told by the environment of the tests."""
    book = notebook_of(tmp_path / "books", "from tqdm import tqdm; print(sum(tqdm([1, 2])))")
    code = "import sys; from pathlib import Path; from notebook_files import run_notebook; "
    code += "from replication.cli import notebooks; notebooks.NOTEBOOKS = Path(sys.argv[1]).parent; "
    code += "sys.exit(run_notebook(*map(Path, sys.argv[1:])))"
    paths = os.pathsep.join(map(str, (notebooks.NOTEBOOKS.parent, notebooks.NOTEBOOKS.parent / "tests")))
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"} | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code, book, tmp_path], env=environment, check=True)
    outputs = read_notebook(tmp_path / "copy.ipynb").cells[-1].outputs
    assert [(o.name, o.text) for o in outputs] == [("stdout", "3\n")]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('one\\ntwo')", "cell 3: ValueError: one two"),  # papermill adds a cell
        ("import os; os._exit(9)", "Kernel died"),
    ],
)
def test_a_failing_notebook_says_in_one_line_what_failed(tmp_path, code, words):
    assert run(notebook_of(tmp_path, code), tmp_path).startswith(words)
    assert (tmp_path / "copy.ipynb").is_file()


def test_a_site_that_fails_leaves_the_notebooks_and_their_index(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", notebook_of(tmp_path / "notebooks").parent)
    monkeypatch.setattr(notebooks, "find_spec", lambda name: True)  # Sphinx is there, docs/build.py is not
    write_notebook(tmp_path / "notebooks" / "02_slow.ipynb", "import time; time.sleep(0.5)")
    monkeypatch.chdir(tmp_path)  # the folder of the results is given relative to it
    assert notebooks.reproduce("smoke", Path("a&b"), device="cpu") == 1
    index = Path("a&b") / "smoke" / "index.html"
    assert str(index) in capsys.readouterr().out
    assert '<a href="notebooks/01_test.html">01_test</a>' in index.read_text(encoding="utf-8")


def test_what_comes_from_a_file_is_no_html_in_a_page(tmp_path):
    """A device or a class name that looks like HTML is shown as text, on GitHub and in the notebooks' pages."""
    device, name = "CPU <img src=x onerror=alert(1)>", "<script>alert(2)</script> a < b"
    shown = pd.DataFrame({"class": [name, "first<br>second"]})
    text = Table("per_class", "Error", f"hardware: {device}", shown, shown, "cpu").markdown()
    notebook = write_notebook(tmp_path / "n.ipynb", "x", [{"text/markdown": text}])
    page = write_html(notebook).read_text(encoding="utf-8")
    page = page[page.index("<body") :]
    assert "<img" not in page and "<script>alert" not in page
    assert "&lt;script" in page and "&lt;img" in page
    assert "first<br" in page and "a &lt; b" in page
