"""README.md: its length, its sentences, its results and its table of algorithms. Commands and blocks: the other tests of pages."""

import json
import re
import sys

import gymnasium as gym
import jobs
import numpy as np
import pytest
from doc_pages import DOCS, FENCE, page_name, rows
from small_envs import Identity

from baselines_ppo import MlpPolicy, learn, trpo_mpi, vpg
from baselines_ppo.config.presets import PRESETS
from benchmarks.readme import __main__ as readme
from benchmarks.readme import figure, pages, selection, summary
from benchmarks.readme.sections import number, verdict
from benchmarks.returns import final_policies, published
from benchmarks.returns.result_files import ResultFile, TrainingJob
from benchmarks.returns.scores import mean_interval
from common.errors import UserError

sys.path.insert(0, str(jobs.ROOT / ".ci"))
import check_language  # noqa: E402
from prose import markdown_passages  # noqa: E402

README = jobs.ROOT / "README.md"
RESULTS = jobs.ROOT / "benchmarks" / "results"
RESULT_PAGES = sorted(RESULTS.glob("*.md"))
TEXT = README.read_text(encoding="utf-8")
GENERATED = re.compile(r"<!-- generated: .*? -->\n.*?(?=^#|\Z)", re.S | re.M)
NUMBER = re.compile(r"(?<![\w.,])-?\d[\d,.]*")


def sentences(text):
    """Return the sentences of a page's prose: without tables, code, code spans, comments and addresses of links."""
    text = re.sub(r"(?m)^\|.*$", "", text)
    found = []
    for passage in markdown_passages(text):
        line, _ = check_language.in_one_line(passage)
        found += re.split(r"(?<=[.!?]) (?=[A-Z*(\[])", line)
    return found


# ---- language


def test_the_readme_has_at_most_150_lines():
    assert len(TEXT.splitlines()) <= 150


def test_a_sentence_has_at_most_35_words_and_two_numbers():
    found = sentences(TEXT)
    assert len(found) > 50
    assert [one for one in found if sum(bool(re.search(r"\w", word)) for word in one.split()) > 35] == []
    assert [one for one in found if len(NUMBER.findall(one)) > 2] == []


def test_results_are_only_in_generated_parts():
    """Outside of them, a number is part of a version, a command or a count below ten."""
    text = GENERATED.sub("", FENCE.sub("", TEXT))
    text = re.sub(r"`[^`\n]*`|\]\([^)\s]*\)|<[^>]*>", " ", text)
    found = NUMBER.findall(re.sub(r"\w+ et al\. \d{4}|Williams 1992|TensorFlow 2|Python 3\.11 to 3\.13|0\.x", "", text))
    assert found == []


# ---- results


def test_every_generated_part_is_that_of_the_committed_results():
    assert readme.outdated() == []


def test_the_summary_has_the_means_of_the_result_lines():
    """Independent of how the summary is computed: each score is the mean of the episodes of one line of its seed."""
    lines = ResultFile("returns").lines
    for env, task in summary.read()["returns"].items():
        for seed, score in zip(task["seeds"], task["scores"], strict=True):
            of_seed = [line for line in lines if (line["env"], line["seed"], line["setting"]) == (env, seed, "default")]
            means = [
                sum(line["deterministic"]) / len(line["deterministic"]) for line in of_seed if "deterministic" in line
            ]
            assert any(abs(mean - score) < 1e-3 for mean in means), (env, seed)
        low, high = task["interval"]
        assert min(task["scores"]) <= low <= task["mean"] <= high <= max(task["scores"])


def test_the_table_has_every_task_with_its_published_value_and_every_single_seed_marked():
    table = {
        row["`python run.py` with"].split(" ")[1].strip("`"): row for row in rows(README, "`python run.py` with")[:9]
    }
    assert table.keys() == published.BEST_PPO.keys()
    for env, one in published.BEST_PPO.items():
        assert table[env]["published PPO"].startswith(f"[{one.value:,}]({one.source}) (")
        assert f"(n = {one.seeds}, " in table[env]["published PPO"] or one.seeds is None
        assert table[env]["score ± std"].startswith("**") == (table[env]["ours is"] == "above")
    measured = {row["task"]: row for row in rows(RESULTS / "returns-references-table.md", "task")}
    for env, row in table.items():  # as the table of the benchmark, which is computed from the lines in another way
        score = measured[env]["100 deterministic episodes, mean ± standard deviation over seeds"].split(" ± ")
        mean, std = (float(text.replace(",", "")) for text in score)
        assert row["score ± std"].replace("*", "") == f"{number(mean)} ± {number(std, mean)}"
        assert row["lowest"] == number(float(measured[env]["lowest"].replace(",", "")))
        assert (measured[env]["seeds"], measured[env]["published PPO"].split(" ")[1]) == ("16", row["ours is"])
    others = rows(README, "`python run.py` with")[9:]
    assert others and all("± " in row["score ± std"] or "(n = 1)" in row["score ± std"] for row in others)


def test_the_intervals_are_those_of_the_scores():
    pytest.importorskip("rliable", reason="rliable is in the extra `benchmarks`")
    for task in summary.read()["returns"].values():
        assert task["interval"] == pytest.approx(list(mean_interval(np.array(task["scores"]))[1:]), abs=1e-5)


def test_the_commands_of_the_table_are_those_of_the_trainings():
    shown = " ".join(row["`python run.py` with"] for row in rows(README, "`python run.py` with"))
    for job in final_policies.jobs(summary.GROUP, seeds=[0]):
        assert f"`{' '.join(['--env', job.env, *job.arguments])}`" in shown


@pytest.mark.parametrize("value, words", [(0.9, "above"), (1.0, "level"), (2.0, "level"), (2.1, "below")])
def test_verdict(value, words):
    assert verdict({"interval": [1.0, 2.0]}, value) == words


@pytest.mark.parametrize("value, text", [(9181.6, "9,182"), (-3.95, "-4.0"), (99.94, "99.9"), (100.4, "100")])
def test_numbers_have_decimals_below_100_only(value, text):
    assert number(value) == text


def test_a_page_needs_each_marker_once():
    text = "# A\n<!-- generated: x -->\nold\n\n## B\nkept\n"
    assert pages.render(text, {"x": "new"}, "page") == "# A\n<!-- generated: x -->\nnew\n\n## B\nkept\n"
    assert pages.render(pages.render(text, {"x": "new"}, "page"), {"x": "new"}, "page").count("new") == 1
    with pytest.raises(UserError, match="generated parts"):
        pages.render(text, {"y": "new"}, "page")


def test_the_figure_changes_with_its_data():
    data = summary.read()
    other = data | {"returns": data["returns"] | {"Ant-v4": data["returns"]["Ant-v4"] | {"interval": [0.0, 1.0]}}}
    assert figure.digest(other) != figure.digest(data) == figure.recorded_digest()


def test_the_tables_of_returns_written_by_hand_have_the_numbers_of_the_result_lines():
    """Each score of a task is a seed's score or a statistic of the seeds of one setting, of the policy or of the training."""
    statistics = {}
    by_setting = {}
    for one in ResultFile("returns").lines:
        by_setting.setdefault(
            (one["env"], one["setting"], json.dumps(selection.complete_settings(one), sort_keys=True)), []
        ).append(one)
    for (env, *_), lines in by_setting.items():
        for name in ("deterministic", "stochastic", "score"):
            for chosen in (lines, [one for one in lines if one["seed"] < 5], [one for one in lines if one["seed"] < 3]):
                values = [float(np.mean(one[name])) for one in chosen if one.get(name)]
                if values:
                    spread = [float(np.std(values, ddof=1))] if len(values) > 1 else []
                    statistics.setdefault(env, []).extend([*values, float(np.mean(values)), *spread])
    page = jobs.ROOT / "benchmarks" / "results" / "returns.md"
    scored = (
        "score",
        "eight ranks",
        "one rank",
        "final policy",
        "last 100",
        "100 deterministic",
        "100 stochastic",
        "time limits",
    )
    found = [row for row in rows(page, "task") if "published PPO" not in row]
    assert len(found) > 15
    wrong = []
    for row in found:
        for heading, cell in row.items():
            if heading.startswith(scored):
                text = re.sub(r"median [\d,]+|, \d+ of 1,000 steps long|of \d+ points", "", cell)
                for shown in re.findall(r"-?\d[\d,]*(?:\.\d+)?(?= |,|\)|\*|$)", text):
                    shown = shown.rstrip(",")
                    decimals = len(shown.partition(".")[2])
                    value = float(shown.replace(",", ""))
                    if not any(abs(one - value) <= 0.5001 * 10**-decimals for one in statistics[row["task"]]):
                        wrong.append(f"{row['task']}, {heading}: {shown}")
    assert wrong == []


# ---- the lines that a page shows


def line(job, **settings):
    return {
        "benchmark": "returns",
        "setting": job.setting,
        "env": job.env,
        "seed": job.seed,
        "steps": job.steps,
        "settings": job.settings | {"preset": "mujoco"} | settings,
        "deterministic": [1.0],
    }


def test_earlier_results_are_shown_until_all_seeds_have_the_current_settings(tmp_path):
    plan = [TrainingJob("returns", "default", "Hopper-v4", seed, 1000, (), 1, match_settings=True) for seed in (0, 1)]
    results = ResultFile("returns", tmp_path)
    with pytest.raises(UserError, match="no complete set of the seeds of Hopper-v4"):
        selection.select(results, plan)
    for job in plan:
        results.add(line(job, lam=0.5))
    earlier = selection.select(results, plan)
    assert not earlier.current and [one["seed"] for one in earlier.lines] == [0, 1]
    results.add(line(plan[0]))
    assert selection.select(results, plan) == earlier  # not a mixture of both settings
    results.add(line(plan[1]))
    found = selection.select(results, plan)
    assert found.current and all(one["settings"]["lam"] != 0.5 for one in found.lines)


# ---- published values


def unlinked(text):
    """Return the published values of a page that have no link: cells of tables, and numbers of sentences."""
    found, headings = [], []
    for row in text.splitlines():
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")] if row.startswith("|") else []
        if not cells or set(row) <= set("|-: "):
            headings = headings if cells else []
        elif not headings:
            headings = cells
        else:
            for heading, cell in zip(headings, cells):
                named = re.search(r"published|\bpaper\b", heading) or (cell != cells[0] and "published" in cells[0])
                source = heading + cell + cells[0]
                if named and NUMBER.search(cell) and "](http" not in source and "](#" not in source:
                    found.append(f"{heading}: {cell}")
    plain = re.sub(r"(?m)^(\||#).*$|<[^>]*>|`[^`\n]*`", "\n", FENCE.sub("\n\n", text))
    for sentence in re.split(r"(?<=[.!?:])\s+(?=[A-Z*(\[])|\n\s*\n|\n(?=- )", plain):
        values = NUMBER.findall(
            re.sub(r"\]\([^)]*\)", "", re.sub(r"(?:Table|Figure|seeds?) \d+|\d+ (?:seeds|%|runs)", "", sentence))
        )
        if "published" in sentence and values and "](http" not in sentence:
            found.append(" ".join(sentence.split()))
    return found


GUIDES = [page for page in sorted(DOCS.rglob("*.md")) if page.parent != DOCS / "reference"]  # which has no results
ALL_PAGES = [README, *RESULT_PAGES, *GUIDES, *sorted((jobs.ROOT / "benchmarks").glob("**/*.md"))]


@pytest.mark.parametrize("page", dict.fromkeys(ALL_PAGES), ids=page_name)
def test_every_published_value_has_a_link(page):
    assert unlinked(page.read_text(encoding="utf-8")) == []


def test_a_published_value_without_a_link_is_found():
    table = "| task | published PPO |\n| --- | --: |\n| Hopper | {} |\n"
    assert unlinked(table.format("2,609")) and not unlinked(table.format("[2,609](https://a.org)"))
    assert unlinked("| task | paper |\n| --- | --: |\n| Hopper | 12 |\n")
    assert not unlinked("| task | [paper](https://a.org) |\n| --- | --: |\n| Hopper | 12 |\n")
    assert unlinked("The published PPO scores 2,609.") and not unlinked(
        "The [published PPO](https://a.org) scores 2,609."
    )


def test_the_page_of_published_returns_is_that_of_the_code():
    assert (jobs.ROOT / "benchmarks" / "results" / "published.md").read_text() == published.page()


# ---- the table of algorithms

SPACES = {
    "Box": gym.spaces.Box(-1, 1, (2,)),
    "Discrete": gym.spaces.Discrete(3),
    "MultiDiscrete": gym.spaces.MultiDiscrete([3, 2]),
    "MultiBinary": gym.spaces.MultiBinary(3),
}
SMALL = {"timesteps_per_actorbatch": 64, "optim_epochs": 1, "optim_batchsize": 32}
# one iteration each; the default is trained on each space by tests/returns/test_returns.py
LEARN = {
    "`--objective adaptive_kl` or `fixed_kl`": (learn, SMALL | {"objective": "adaptive_kl"}),
    "`--alg trpo`": (trpo_mpi.learn, PRESETS["trpo"].learn | {"timesteps_per_batch": 64}),
    "`--preset a2c`": (vpg.learn, PRESETS["a2c"].learn | {"timesteps_per_actorbatch": 64}),
    "`--preset reinforce`": (vpg.learn, PRESETS["reinforce"].learn | {"timesteps_per_actorbatch": 64}),
}


def test_every_algorithm_is_in_the_table():
    table = rows(README, "algorithm")
    assert [row["options"] for row in table] == ["the default", *LEARN]
    assert all(row[space] == "yes" for row in table for space in SPACES)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("options", LEARN)
def test_every_algorithm_trains_with_every_kind_of_action(options, space, monkeypatch):
    monkeypatch.setattr("common.policies.base.Policy.xla", False)
    train, arguments = LEARN[options]
    pi = train(Identity(SPACES[space]), MlpPolicy, max_iters=1, seed=0, **arguments)
    ob, _ = Identity(SPACES[space]).reset(seed=0)
    assert SPACES[space].contains(pi.predict(ob, deterministic=True))
