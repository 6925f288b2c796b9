"""What a rebuild writes, its pages, and that what is committed is what the committed records give."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from report_records import record, write

from replication.report import front_page, site
from replication.report.analysis.profile import read_profile, read_profiles
from replication.report.claims.statements import read_evidence, statements
from replication.report.figures import style
from replication.report.tables.evidence import choice_table
from replication.report.tables.table import markdown_rows

ROOT = Path(__file__).resolve().parents[2]
DERIVED = ("*/tables/*.md", "*/tables/*.csv", "README.md", "*/README.md")
FIRST_SCREEN, WHOLE_PAGE = 220, 1300  # words at most


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The results that git holds (its index), else those of the working tree; and what their records give, rebuilt."""
    old, new = (tmp_path_factory.mktemp(name) / "results" for name in ("committed", "rebuilt"))
    listed = subprocess.run(["git", "ls-files", "-z", "--", "results"], cwd=ROOT, capture_output=True)
    if listed.returncode == 0 and listed.stdout:
        export = ["git", "checkout-index", "-z", "--stdin", f"--prefix={old.parent}/"]
        subprocess.run(export, input=listed.stdout, cwd=ROOT, check=True)
    elif (ROOT / "results").exists():
        shutil.copytree(ROOT / "results", old, ignore=shutil.ignore_patterns("smoke", "checkpoints"))
    if not (old / "README.md").exists():
        pytest.skip("no generated results are committed")
    for path in old.rglob("*"):
        if path.is_file() and "tables" not in path.relative_to(old).parts and path.name != "README.md":
            target = new / path.relative_to(old)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    site.rebuild(new, figures=False)
    return old, new


def texts(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text() for pattern in DERIVED for p in sorted(folder.glob(pattern))
    }


def links(page: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)]+)\)", page) if "://" not in link]


def words(page: str) -> int:
    """Words as a reader sees them: without pictures, comments, addresses and rules of tables."""
    page = re.sub(r"!\[[^\]]*\]\([^)]*\)|<!--.*?-->", "", page)
    page = re.sub(r"\]\([^)]*\)", "]", page).replace("|", " ")
    return sum(bool(re.search(r"\w", word)) for word in page.split())


def test_committed_tables_and_pages_are_what_the_committed_records_give(committed):
    old, new = map(texts, committed)
    assert sorted(old) == sorted(new), "run `python -m replication report` and commit what it writes"
    stale = [name for name in new if old[name] != new[name]]
    assert not stale, f"run `python -m replication report`: {stale} differ from what the records give"


def test_committed_figures_are_all_there_and_none_is_wider_than_a_page(committed):
    """Figures 3 to 6 and 8 to 10 of the paper, the forest plot, and each study's own."""
    old = committed[0]
    names = {p.relative_to(old).as_posix() for p in old.rglob("figures/*")}
    wanted = {f"published/figures/figure{n}" for n in (4, 5, 8, 9, 10)} | {"figures/forest"}
    wanted |= {"theory/figures/figure3_weights", "theory/figures/figure6_effective_numbers"}
    wanted |= {f"cpu/figures/{name}_cifar10" for name in ("heat_map", "curves", "class_change", "betas")}
    assert {f"{name}.{ending}" for name in wanted for ending in ("png", "pdf")} <= names
    wide = {p.name: int.from_bytes(p.read_bytes()[16:20]) for p in old.rglob("*.png")}  # width in a PNG's header
    assert not {name: width for name, width in wide.items() if width > 1000}


def test_committed_pages_link_only_what_is_there(committed):
    for page in [committed[1] / "README.md", *committed[1].glob("*/README.md")]:
        found = [page.parent / link for link in links(page.read_text())]
        wanted = [committed[0] / path.relative_to(committed[1]) for path in found]
        assert not [path for path in wanted if not path.is_file()], page
    assert len(links((committed[1] / "README.md").read_text())) > 10


def test_committed_front_page_is_short_and_says_nothing_that_is_not_measured(committed):
    page = (committed[1] / "README.md").read_text()
    assert words(page.split("\n## ")[0]) <= FIRST_SCREEN and words(page) <= WHOLE_PAGE
    assert "not measured" not in page and "smoke" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 15 and sum(bool(re.search(r"\d", row)) for row in rows) >= len(rows) - 6  # heads have none


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """A short study of three seeds with a control, one run at full protocol, one of the smoke test; rebuilt."""
    results = tmp_path_factory.mktemp("results")
    runs = [record(40 + s - 4 * (b > 0), seed=s, beta=b) for s in range(3) for b in (0.0, 0.9999)]
    runs += [record(38 + s, seed=s, beta=0.9999, weights="uniform_scaled") for s in range(3)]
    runs += [record(37 + s, seed=s, beta=0.9999, reduction="weighted_mean") for s in range(3)]
    write(results, "cpu", runs)
    write(results, "paper", [record(24.77, profile="paper", imbalance_factor=50, wall_seconds=7200)])
    write(results, "smoke", [record(9, profile="smoke", wall_seconds=1)])
    drawings = site.profile_drawings(results, read_profiles(results)["cpu"])
    style.draw_all({path: make for path, make in drawings.items() if "class_change" in path.name})
    return results, site.rebuild(results, figures=False)


def test_everything_written_is_there_and_nothing_half_written(rebuilt):
    results, paths = rebuilt
    assert paths and all(path.is_file() for path in paths) and not list(results.rglob("*.tmp"))
    names = {p.name for p in (results / "cpu" / "tables").iterdir()}
    assert {"table2.tex", "ablations.md", "scale_by_weights.csv"} <= names
    assert (results / "statements" / "tables" / "statements.csv").is_file()


def test_pages_link_only_what_is_there_and_leave_smoke_out(rebuilt):
    results, page = rebuilt[0], (rebuilt[0] / "README.md").read_text()
    assert "smoke" not in page and all((results / link).is_file() for link in links(page))
    assert "![" in (results / "cpu" / "README.md").read_text()  # the figure that was drawn


def test_a_page_of_its_own_holds_the_budget_and_its_tables(rebuilt):
    page = (rebuilt[0] / "cpu" / "README.md").read_text()
    assert page.startswith("# Short training (ResNet-8, 30 epochs)") and "Table 2" in page and "The four" not in page
    assert "Ablations" in page and "paper" not in markdown_rows(pd.DataFrame())


def test_questions_of_ours_are_answered_with_the_numbers_of_the_records(rebuilt):
    """Plain 40, balanced 36, each class at the average weight 38, undivided balanced 37: differences by hand."""
    page = (rebuilt[0] / "README.md").read_text()
    weighed = {s.id: s for s in statements(read_evidence(rebuilt[0])) if s.topic == "ours"}
    assert f"**{weighed['O2'].text}** {weighed['O2'].bottom_line}" in page
    balancing = [finding.estimate for finding in weighed["O2"].weighings[0].findings if "balancing" in finding.what]
    assert balancing == [-3, -2]
    assert "![" in page and "cpu/figures/class_change_cifar10.png" in page


def test_forest_has_the_columns_that_ran_and_the_short_study_without_printed_sizes(rebuilt, tmp_path):
    runs = [record(25 - 2 * (b > 0), "paper", imbalance_factor=50, beta=b, seed=s) for b in (0, 0.9999) for s in (0, 1)]
    short, full = read_profiles(rebuilt[0])["cpu"], read_profile(write(tmp_path, "paper", runs), "paper")
    rows = front_page.forest_rows(full, short)
    full, short = (rows[rows["block"].str.startswith(name)] for name in ("Full", "Short"))
    assert full[["label", "mean", "n"]].values.tolist() == [["CIFAR-10 at 50, beta 0.9999", -2, 2]]
    assert full["block"].iloc[0].endswith(", 1 of 10 columns") and full["printed"].iloc[0] == pytest.approx(
        21.95 - 25.19
    )
    assert short["printed"].isna().all() and short[["mean", "n", "word"]].values.tolist() == [[-4, 3, "better"]]


def test_scope_says_what_ran_and_on_what(rebuilt):
    page = (rebuilt[0] / "README.md").read_text()
    assert "| short training | ResNet-8, 30 epochs | 12 | 0 | 1.2 | 0, 1, 2 | float32 | cpu (test) |" in page


def test_what_is_not_run_is_said_in_one_line(rebuilt):
    missing = front_page.missing_columns(read_profile(rebuilt[0], "paper"))
    assert missing == {name: ["200", "100", "50", "20", "10"] for name in ("CIFAR-10", "CIFAR-20", "CIFAR-100")}
    page = (rebuilt[0] / "README.md").read_text()
    assert "CIFAR-10 at any imbalance; CIFAR-20 at any imbalance; CIFAR-100 at any imbalance; iNaturalist" in page


def test_the_choice_of_the_best_is_summed_up_from_the_printed_numbers(rebuilt):
    rows = choice_table().shown.set_index("data set")
    assert rows.loc["CIFAR-10", "best of 20 minus best plain"] == "-4.12 to -0.46"
    page = (rebuilt[0] / "README.md").read_text()
    assert markdown_rows(choice_table().shown) in page and "probability 5e-5," in page


def test_every_statement_stands_on_the_front_page_with_its_words(rebuilt):
    page = (rebuilt[0] / "README.md").read_text()
    weighed = [s for s in statements(read_evidence(rebuilt[0])) if s.topic != "ours"]
    words = {s.id: ", ".join(dict.fromkeys(s.words.values())).capitalize() for s in weighed}
    assert len(weighed) > 20 and all(f"{s.id}. **{words[s.id]}.** {s.bottom_line}" in page for s in weighed)


def test_every_figure_of_report_and_notebooks_says_what_it_shows(rebuilt):
    drawings = site.profile_drawings(rebuilt[0], read_profiles(rebuilt[0])["cpu"])
    names = {path.name for path in drawings | site.common_drawings(ROOT / "results")} | {"forest"}
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        names |= set(re.findall(r'save_figure\(.*\\"(\w+)\\"\)', notebook.read_text()))
    assert "focal_modulator" in names
    assert not [name for name in names if style.figure_caption(name) == name.replace("_", " ")]
    assert not [key for key in style.CAPTIONS if not any(key in name for name in names)]


def test_profiles_never_share_a_table(rebuilt):
    studies = {"cpu": "Short training (", "paper": "Full protocol (", "smoke": "Smoke test ("}
    for path in rebuilt[0].glob("*/tables/*.md"):
        named = {name for name, words in studies.items() if words in path.read_text()}
        assert named <= {path.parent.parent.name}, path


def test_figures_that_the_records_do_not_allow_are_not_drawn(rebuilt):
    drawings = site.profile_drawings(rebuilt[0], read_profiles(rebuilt[0])["cpu"])
    makers = {path.name: make for path, make in drawings.items()}
    assert [makers[name]() for name in ("drop", "methods", "heat_map_cifar10")] == [None, None, None]
    assert {"curves_cifar10", "betas_cifar10", "class_change_cifar10"} <= set(makers)


@pytest.mark.slow
def test_all_figures_in_several_processes_are_those_of_one(rebuilt, tmp_path):
    drawings = list(site.common_drawings(rebuilt[0]).items())[:2]
    one, two = (
        [p.read_bytes() for p in style.draw_all({tmp_path / str(n) / path.name: make for path, make in drawings}, n)]
        for n in (1, 2)
    )
    assert len(one) == 4 and one == two


def test_rebuilding_again_changes_nothing(rebuilt):
    before = texts(rebuilt[0])
    site.rebuild(rebuilt[0], figures=False)
    assert texts(rebuilt[0]) == before


def test_what_is_not_written_any_more_is_removed_and_nothing_else(rebuilt, tmp_path):
    """Without its records the short study loses its page and tables; records and files of others stay."""
    results = tmp_path / "results"
    shutil.copytree(rebuilt[0], results)
    (results / "cpu" / "runs").rename(results / "cpu" / "old_runs")
    foreign = [results / "cpu" / "tables" / "mine.csv", results / "notes" / "README.md", results / "notes" / "a.png"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("![mine](a.png) [table](tables/table2.md)")
    before = {path for path in results.rglob("*") if path.is_file()}
    site.rebuild(results, figures=False)
    gone = {path.relative_to(results / "cpu") for path in before if not path.exists()}
    wanted = {path.relative_to(rebuilt[0] / "cpu") for path in rebuilt[1] if path.is_relative_to(rebuilt[0] / "cpu")}
    assert gone == wanted and {path.parts[0] for path in gone} == {"README.md", "tables", "figures"}
    assert all(path.is_file() for path in foreign) and len(list((results / "cpu" / "old_runs").iterdir())) == 12


def test_without_any_record_the_page_rests_on_theory_and_print(tmp_path):
    site.rebuild(tmp_path, figures=False)
    page = (tmp_path / "README.md").read_text()
    assert "**Not run yet**" in page and "Proved" in page and all((tmp_path / link).is_file() for link in links(page))
