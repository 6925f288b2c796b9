"""What a rebuild writes, its front page, and that what is committed is what the committed records give."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from report_records import record, write

from replication.experiments.experiment import PROFILES
from replication.report import front_page, site
from replication.report.analysis import published as paper
from replication.report.analysis.measured import differences, pairs, per_seed, profile_records, profiles_with_records
from replication.report.analysis.selection import rerun_sd
from replication.report.analysis.statistics import summary
from replication.report.claims import registry as claims
from replication.report.claims.evidence import Evidence
from replication.report.covering import write_csv
from replication.report.figures import style
from replication.report.tables.claims import claims_table
from replication.theory import covering

ROOT = Path(__file__).resolve().parents[2]
DERIVED = ("*/tables/*.md", "*/tables/*.csv", "README.md")


def rebuild_in_a_process(results: Path) -> str:
    code = f"""
import sys
from replication.report.site import rebuild
rebuild({str(results)!r}, figures=False)
assert "torch" not in sys.modules and "torchvision" not in sys.modules
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stderr


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
    rebuild_in_a_process(new)
    return old, new


def texts(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text() for pattern in DERIVED for p in sorted(folder.glob(pattern))
    }


def test_committed_tables_and_front_page_are_what_the_committed_records_give(committed):
    old, new = map(texts, committed)
    assert sorted(old) == sorted(new), "run `python -m replication report` and commit what it writes"
    stale = [name for name in new if old[name] != new[name]]
    assert not stale, f"run `python -m replication report`: {stale} differ from what the records give"


def test_committed_figures_are_all_there(committed):
    """Figures 3 to 6 and 8 to 10 of the paper, and for each profile with CIFAR-10 its own beside them."""
    old = committed[0]
    names = {p.relative_to(old).as_posix() for p in old.glob("*/figures/*")}
    wanted = {f"published/figures/figure{n}" for n in (4, 5, 8, 9, 10)} | {"theory/figures/figure3_weights"}
    wanted |= {"theory/figures/figure6_effective_numbers"}
    for profile in profiles_with_records(old):
        wanted |= {
            f"{profile}/figures/{name}" for name in ("figure5", "gain", "heat_map_cifar10", "curves", "per_class")
        }
    assert {f"{name}.{ending}" for name in wanted for ending in ("png", "pdf")} <= names


def links(page: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)]+)\)", page) if "://" not in link]


def test_committed_front_page_links_only_what_is_there(committed):
    found = links((committed[1] / "README.md").read_text())
    assert len(found) > 20 and not [link for link in found if not (committed[0] / link).is_file()]


def test_what_the_readme_says_came_out_is_what_came_out(committed):
    """README.md has no numbers for it; the three parts of its sentence stand as long as these do."""
    said = " ".join((ROOT / "README.md").read_text().split())
    assert "is exact for the covering" in said
    judged = pd.read_csv(committed[1] / "cpu" / "tables" / "claims.csv")
    t1 = judged.query("id == 'T1'")
    assert set(t1["evidence"]) == {"exact", "simulation"} and set(t1["verdict"]) == {"replicated"}
    budget = PROFILES["cpu"]
    assert f"lowers the error in our runs too (ResNet-{budget['depth']}, {budget['epochs']} epochs)" in said
    ours = pairs(profile_records(committed[1], "cpu")).query("beta == 0.9999 and imbalance_factor == 100")
    assert summary(per_seed(differences(ours))).high < 0
    assert "what the paper says of beta at imbalance 50, taken literally, fails on its own printed numbers" in said
    figure5 = judged.query("id in ('R4', 'R5') and evidence == 'published'")
    assert len(figure5) == 2 and set(figure5["verdict"]) == {"contradicted"}
    assert "on CIFAR-10 in one cell, by less than reruns of one cell differ" in said
    cells = paper.difference_to_plain(paper.heat_map("cifar10").query("label in @paper.FIGURE5_LOSSES"))
    against = cells.query("imbalance_factor == 50 and difference >= 0")["difference"]
    assert len(against) == 1 and against.max() < rerun_sd()[0]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """A cpu profile of two seeds with a control, one paper run, one smoke run; rebuilt."""
    results = tmp_path_factory.mktemp("results")
    runs = [record(40 + s - 4 * (b > 0), seed=s, beta=b) for s in (0, 1) for b in (0.0, 0.9999)]
    runs += [record(38 + s, seed=s, beta=0.9999, weights="uniform_scaled") for s in (0, 1)]
    write(results, "cpu", runs)
    write(results, "paper", [record(24.77, profile="paper", imbalance_factor=50, wall_seconds=7200)])
    write(results, "smoke", [record(9, profile="smoke", wall_seconds=1)])
    for drawing in site.profile_drawings(results, "cpu"):
        if drawing.name == "gain":
            style.draw(drawing)
    return results, site.rebuild(results, figures=False)


def test_everything_written_is_there_and_nothing_half_written(rebuilt):
    results, paths = rebuilt
    assert paths and all(path.is_file() for path in paths) and not list(results.rglob("*.tmp"))
    assert {"table2.tex", "claims.csv", "controls.md"} <= {p.name for p in (results / "cpu" / "tables").iterdir()}
    assert {"gain.pdf", "gain.png"} <= {p.name for p in (results / "cpu" / "figures").iterdir()}


def test_front_page_links_only_what_is_there_and_leaves_smoke_out(rebuilt):
    results, page = rebuilt[0], (rebuilt[0] / "README.md").read_text()
    assert len(links(page)) > 40 and all((results / link).is_file() for link in links(page))
    assert "smoke" not in page


def test_first_screen_is_a_picture_and_five_sentences(rebuilt):
    head = (rebuilt[0] / "README.md").read_text().split("\n\n")
    assert head[2].startswith("![") and "cpu/figures/gain.png" in head[2]
    assert [line[:3] for line in head[3].splitlines()] == ["1. ", "2. ", "3. ", "4. ", "5. "]


def test_every_figure_of_report_and_notebooks_says_what_it_shows(rebuilt):
    results, page = rebuilt[0], (rebuilt[0] / "README.md").read_text()
    drawings = [*site.profile_drawings(results, "cpu"), *site.published_drawings(results)]
    names = {drawing.name for drawing in [*drawings, *site.common_drawings(ROOT / "results")]}
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        names |= set(re.findall(r'save_figure\(.*\\"(\w+)\\"\)', notebook.read_text()))
    assert "focal_modulator" in names
    assert not [name for name in names if style.figure_caption(name) == name.replace("_", " ")]
    assert set(style.CAPTIONS) - {"heat_map"} <= names
    assert "Table 2 [cpu](cpu/tables/table2.md), [paper](paper/tables/table2.md)" in page


def test_sentences_hold_the_numbers_of_the_records(rebuilt):
    page = (rebuilt[0] / "README.md").read_text()
    budget = "profile cpu (ResNet-8, 30 epochs; softmax; seeds: 2)"
    assert f"{budget}: -4.00 [-4.00, -4.00] at imbalance 100 (paper -2.01)." in page  # 27.63 beside 29.64
    assert "plain ours 24.77 (n = 1), paper 25.19, authors' rerun 24.02, a user's" in page
    assert "(mean of 2) 22.52; class-balanced at 0.9999 ours not measured, paper 21.95" in page
    assert "11 of 25 at 0.9, 16 of 25 at 0.99, 25 of 25 at 0.999, 25 of 25 at 0.9999" in page
    assert "is +2.00 [+2.00, +2.00] from weighting classes unlike and +2.00" in page
    assert re.search(r"\| paper \| 1 \| 0 \| 2\.0 \| ResNet-32 \| 200 \| 0 \| float32 \|", page)
    assert "full protocol (ResNet-32, 200 epochs; ours trained in float32)" in page


def test_profiles_never_share_a_table(rebuilt):
    for path in rebuilt[0].glob("*/tables/*.md"):
        named = set(re.findall(r"Profile (\w+):", path.read_text()))
        assert named <= {path.parent.parent.name}, path


def test_figures_that_the_records_do_not_allow_are_not_drawn(rebuilt):
    drawings = {d.name: d for d in site.profile_drawings(rebuilt[0], "cpu")}
    assert style.draw(drawings["drop"]) == []
    assert {"figure5", "curves", "per_class", "gain", "heat_map_cifar10"} <= set(drawings)
    assert {d.name for d in site.published_drawings(rebuilt[0])} == {
        "figure4",
        "figure5",
        "figure8",
        "figure9",
        "figure10",
        "gain",
    }


@pytest.mark.slow
def test_all_figures_in_several_processes_are_those_of_one(rebuilt, tmp_path):
    drawings = [d for d in site.profile_drawings(rebuilt[0], "paper") if d.name in ("drop", "gain")]
    one = [p.read_bytes() for p in style.draw_all([d._replace(folder=tmp_path / "one") for d in drawings])]
    two = [p.read_bytes() for p in style.draw_all([d._replace(folder=tmp_path / "two") for d in drawings], 2)]
    assert len(one) == 2 and one == two


def test_rebuilding_again_changes_nothing(rebuilt):
    before = texts(rebuilt[0])
    site.verdicts(rebuilt[0], "cpu")
    site.profile_tables(rebuilt[0], "cpu")
    assert texts(rebuilt[0]) == before


def test_one_more_record_changes_the_tables(rebuilt, tmp_path):
    shutil.copytree(rebuilt[0] / "cpu", tmp_path / "cpu")
    before = texts(tmp_path)
    record(30, seed=2, beta=0.9999).write(tmp_path / "cpu" / "runs")
    site.profile_tables(tmp_path, "cpu")
    assert texts(tmp_path)["cpu/tables/table2.csv"] != before["cpu/tables/table2.csv"]


def test_the_gain_is_told_at_each_imbalance_over_the_same_losses_and_seeds(tmp_path):
    """Focal only at 100, a begun seed at 50: neither may stand beside the others."""
    cells = [("softmax", None, f, gain) for f, gain in ((10, 1), (100, 3))] + [("focal", 1.0, 100, 9)]
    runs = [
        record(40 - gain * (b > 0) - s / 10, loss=loss, gamma=gamma, imbalance_factor=f, beta=b, seed=s)
        for loss, gamma, f, gain in cells
        for s in range(3)
        for b in (0.0, 0.9999)
    ]
    runs += [record(40 - 20 * (b > 0), imbalance_factor=50, beta=b) for b in (0.0, 0.9999)]
    lost = dict(imbalance_factor=100, seed=3)
    runs += [record(status="diverged", **lost), record(40, beta=0.9999, **lost)]
    said = front_page.gain_sentence({"cpu": profile_records(write(tmp_path, "cpu", runs), "cpu")})
    assert "; softmax; seeds: 3; pairs lost to divergence: 1): " in said
    shown = "-3.00 [-3.00, -3.00] at imbalance 100 (paper -2.01), -1.00 [-1.00, -1.00] at imbalance 10 (paper -0.15)."
    assert said.endswith(shown)


def test_slips_that_cost_are_slips_of_ports_beyond_chance_and_not_the_authors_own_pipeline(tmp_path):
    runs = []
    for seed in range(3):
        balanced = dict(beta=0.9999, imbalance_factor=100, seed=seed)
        runs += [record(40.0, **balanced), record(43.0 + seed / 10, shortcut="subsample", **balanced)]
        runs += [record(49.0, shuffle="buffered", **balanced), record(60.0, weights="uniform_scaled", **balanced)]
        runs += [record(40.0 + 9 * (seed - 1), reduction="weighted_mean", **balanced)]  # costs nothing on average
    runs.append(record(70.0, drop_factor=0.1, beta=0.9999, imbalance_factor=100))  # one seed says nothing
    said = front_page.controls_sentence({"cpu": profile_records(write(tmp_path, "cpu", runs), "cpu")})
    assert "of 3 changes that other code makes 1 is shown to raise the error: " in said
    assert "2x2 average +3.10 [+2.85, +3.35] (softmax)" in said and "as torch does 0.00 [" in said
    assert "dropped by 0.1 in place of 0.01 +30.00 (softmax)" in said and "buffered" not in said
    one = front_page.controls_sentence({"cpu": profile_records(tmp_path, "cpu").query("seed == 0")})
    assert "of 3 changes that other code makes none is shown" in one


def test_first_sentence_names_what_fails_and_what_runs_decide():
    rows = [("T1", "simulation", "replicated"), ("T1", "exact", "replicated"), ("L1", "exact", "contradicted"),
            ("R1", "published", "replicated"), ("R1", "runs (cpu)", "contradicted"),
            ("R2", "published", "inconclusive"), ("R2", "runs (cpu)", "not measured"),
            ("S3", "large-scale runs", "not measured")]  # fmt: skip
    said = front_page.verdict_sentence(pd.DataFrame(rows, columns=["id", "evidence", "verdict"]))
    assert "5 claims" in said and "bear out 2 and contradict 1 (L1); 1 stay open, 1 rest on training alone" in said
    assert "Our runs (cpu: ResNet-8, 30 epochs) contradict R1 and leave 1 of 2 open. The formula" in said


def test_without_any_record_all_is_not_measured_but_theory_and_print(tmp_path):
    verdicts, paths = site.verdicts(tmp_path, "cpu")
    assert set(verdicts.query("evidence == 'runs'")["verdict"]) == {"not measured"} and all(p.is_file() for p in paths)
    said = front_page.sentences({}, verdicts)
    assert len(said) == 5 and sum("not measured" in text for text in said) >= 4
    page = front_page.front_page(tmp_path, {}, {"cpu": verdicts}, paths)
    assert "No profile has records yet" in page


def test_front_page_says_how_many_variances_of_the_covering_are_judged(tmp_path):
    verdicts, _ = site.verdicts(tmp_path, "cpu")
    table = covering.verify(volume=100, replicates=500)
    path = write_csv(table, tmp_path / "covering" / "verify.csv")
    page = front_page.front_page(tmp_path, {}, {"cpu": verdicts}, [path])
    result = covering.check(pd.read_csv(path))
    assert f"{result.variances} variances of {result.known} known" in page and 0 < result.variances < result.known


def test_evidence_prefers_the_covering_of_its_own_profile(tmp_path):
    for folder, mean in (("covering", 1), ("smoke/covering", 2)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "verify.csv").write_text(f"geometry,mean\nprototypes,{mean}\n")
    assert site.evidence(tmp_path, "smoke").verify["mean"].tolist() == [2]
    assert site.evidence(tmp_path, "cpu").verify["mean"].tolist() == [1]
    assert site.evidence(tmp_path, "cpu").near_duplicates is None


def test_a_run_that_ends_meanwhile_is_in_every_table_or_in_none(rebuilt, tmp_path, monkeypatch):
    shutil.copytree(rebuilt[0] / "cpu", tmp_path / "cpu")
    tables, late = site.profile_tables, record(30, seed=2, beta=0.9999)
    monkeypatch.setattr(site, "profile_tables", lambda *a: (late.write(tmp_path / "cpu" / "runs"), tables(*a))[1])
    site.rebuild(tmp_path, figures=False)
    pages = [tmp_path / "README.md", *(tmp_path / "cpu" / "tables").glob("*.md")]
    told = {n for page in pages for n in re.findall(r"last epoch; (\d+) runs", page.read_text())}
    assert told == {"4", "6"}  # the paper's protocol, and with controls


def test_verdict_table_names_its_profile(rebuilt):
    records = profile_records(rebuilt[0], "paper")
    table = claims_table(claims.judge(Evidence(records=records)), "paper", "")
    assert "runs (paper)" in table.markdown() and "runs (cpu)" not in table.markdown()


def test_gain_sentence_is_of_the_papers_losses(tmp_path):
    """Pairs of another loss alone, which the paper's mean does not hold, are no gain to set beside it."""
    runs = [record(40 - 4 * (b > 0), loss="focal", gamma=3.0, beta=b) for b in (0.0, 0.9999)]
    records = {"cpu": profile_records(write(tmp_path, "cpu", runs), "cpu")}
    assert "not measured" in front_page.gain_sentence(records)
    assert "4.00" not in " ".join(front_page.sentences(records, claims.judge(Evidence(records=records["cpu"]))))
