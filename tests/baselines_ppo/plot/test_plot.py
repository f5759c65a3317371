"""Comparisons of runs: the output, caveats, the figure, and the command line."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import jobs
import pytest
from PIL import Image
from plot_runs import A, B, monitored, write_groups
from scipy import stats

from baselines_ppo.experiment.summary import final_return
from baselines_ppo.plot import command as plot
from baselines_ppo.plot.caveats import caveats
from baselines_ppo.plot.figure import draw
from baselines_ppo.plot.grouping import group_runs, load
from baselines_ppo.plot.significance import compare
from baselines_ppo.plot.table import print_table
from baselines_ppo.report.summary import headline_metrics
from baselines_ppo.sweep.directory import SweepDirectory
from common.formatting import format_number


def printed(capsys, *paths):
    print_table(compare(group_runs(load(paths)[0])), sys.stdout)
    return capsys.readouterr().out


def run_plot(capsys, *words):
    status = plot.main([str(word) for word in words])
    return (status, *capsys.readouterr())


# ---- output


def test_a_significant_difference_is_printed_with_its_size(tmp_path, capsys):
    out = printed(capsys, write_groups(tmp_path, low=B, high=A))
    p = stats.ttest_ind(A, B, equal_var=False).pvalue
    assert p < 0.05
    assert "Hopper-v4: clip_param=high is better than clip_param=low by 201.7 (95 % interval" in out
    assert f"p = {p:.2g}, Welch's t-test)" in out and "Holm" not in out


def test_an_insignificant_difference_is_printed_as_such(tmp_path, capsys):
    out = printed(capsys, write_groups(tmp_path, one=[1.0, 2.0, 3.0], two=[1.5, 2.0, 3.5]))
    assert "are not significantly different" in out and "better" not in out


def test_a_group_of_one_seed_is_reported_as_untested(tmp_path, capsys):
    out = printed(capsys, write_groups(tmp_path, one=[1.0], two=[1.5, 2.0]))
    assert "a test needs at least two seeds in each group; one seed: clip_param=one" in out
    assert "Welch" not in out


def test_groups_without_variance_are_not_tested(tmp_path, capsys):
    out = printed(capsys, write_groups(tmp_path, one=[500, 500], two=[500, 500], three=[9, 9]))
    assert "clip_param=one and clip_param=two are not significantly different: every seed" in out
    assert "clip_param=one is ahead of clip_param=three by 491, but the seeds of each group" in out


def test_several_comparisons_are_corrected(tmp_path, capsys):
    write_groups(tmp_path, a=[1.0, 2.0, 3.0], b=[3.2, 4.4, 5.1], c=[2.0, 3.0, 4.1])
    found = compare(group_runs(load([tmp_path])[0]))
    pairs = found["environments"]["Hopper-v4"]["comparisons"]
    lowest = min(pairs, key=lambda pair: pair["p"])
    assert lowest["p"] < 0.05 < lowest["p_holm"] == pytest.approx(3 * lowest["p"]) and not lowest["differ"]
    assert "are not significantly different" in lowest["statement"] and "after Holm's correction" in lowest["statement"]
    assert "after correction (Holm, over 3 comparisons)" in printed(capsys, tmp_path)


def test_unequal_lengths_and_unfinished_runs_are_reported_after_the_comparison(tmp_path, capsys):
    for clip, episodes in (("short", 3), ("whole", 10)):
        for seed in range(4):
            monitored(
                tmp_path / clip / str(seed),
                [seed, *[100.0 * episodes + seed] * (episodes - 1)],
                settings={"clip_param": clip, "num_timesteps": 100},
                typed=["clip_param"],
                seed=seed,
            )
    status, out, err = run_plot(capsys, tmp_path, "--out", tmp_path / "x.png", "--final", "1")
    lines = out.splitlines()
    found_at = next(i for i, line in enumerate(lines) if "clip_param=whole is better than clip_param=short" in line)
    assert lines[found_at + 1].startswith("Hopper-v4: clip_param=short: 4 of 4 runs are unfinished: ")
    assert f"{tmp_path}/short/0 (30% of 100 steps), " in lines[found_at + 1] and lines[found_at + 1].endswith(
        "/2 (30% of 100 steps), ..."
    )
    assert lines[found_at + 2] == (
        "Hopper-v4: the groups were trained for unequal lengths: 30 steps (clip_param=short), 100 steps (clip_param=whole); "
        "a difference between them may be one of length"
    )
    found = json.loads(run_plot(capsys, tmp_path, "--out", tmp_path / "x.png", "--json")[1])
    assert len(found["environments"]["Hopper-v4"]["cautions"]) == 2


def test_copies_of_one_run_are_reported(tmp_path, capsys):
    for name, seed, more in (
        ("a", 0, {}),
        ("b", 0, {"quiet": True, "env_workers": 2}),
        ("c", 1, {}),
        ("other", 0, {"lam": 0.5}),
    ):
        monitored(tmp_path / name, [1.0, 2.0], settings={"lam": 0.9} | more, seed=seed)
    runs = load([tmp_path])[0]["Hopper-v4"]
    (line,) = caveats({"mine": runs})
    assert line.startswith(
        f"mine: 2 runs have the same seed, 0, and the same settings: {tmp_path}/a, {tmp_path}/b; they are one run counted several times"
    )
    assert line in printed(capsys, tmp_path / "a", tmp_path / "b").replace("mujoco: 2 runs", "mine: 2 runs")
    assert caveats({"mine": runs[1:]}) == []


@pytest.mark.parametrize(
    "one, other, words",
    [
        ({"ranks": 1}, {"ranks": 2}, None),
        ({"git_commit": "c"}, {"git_commit": "c"}, "; they are one run counted"),
        ({"git_commit": "c"}, {"git_commit": "d"}, "; unless their code differed, they are one run counted"),
        ({"git_commit": "c"}, {}, "; unless their code differed, they are one run counted"),
        ({"git_commit": "c+"}, {"git_commit": "c+"}, "; unless their code differed, they are one run counted"),
    ],
)
def test_runs_with_other_ranks_are_not_copies_and_other_code_is_reported(one, other, words, tmp_path):
    for name, more in (("one", one), ("other", other)):
        path = monitored(tmp_path / name, [1.0, 2.0], settings={"batch": "per-rank"}) / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    lines = caveats({"mine": load([tmp_path])[0]["Hopper-v4"]})
    assert len(lines) == (words is not None) and all(words in line for line in lines)


def test_json_has_the_contents_of_the_table(tmp_path, capsys):
    status, out, err = run_plot(capsys, write_groups(tmp_path, low=B, high=A), "--json", "--out", tmp_path / "x.png")
    found = json.loads(out)
    group = found["environments"]["Hopper-v4"]["groups"]["clip_param=high"]
    assert (group["seeds"], group["mean"], group["best"], group["returns"]) == (4, 315, 330, A)
    assert found["figure"] == str(tmp_path / "x.png") and err == ""


def test_runs_of_three_programs_are_compared_in_one_panel(tmp_path, capsys):
    monitored(tmp_path / "ours", [1, 2], settings={})
    monitored(tmp_path / "baselines", [3, 4])
    (tmp_path / "sb3").mkdir()
    (tmp_path / "sb3" / "progress.csv").write_text(
        "time/total_timesteps,time/time_elapsed,rollout/ep_rew_mean\n10,1,\n20,2,5.5\n"
    )
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "progress.csv").write_text("EpRewMean,TimestepsSoFar\n")
    status, out, err = run_plot(capsys, tmp_path, "--out", tmp_path / "x.png")
    assert status == 0
    assert sum(name in out for name in ("mujoco", "baselines", "sb3")) == 3 and out.count("Hopper-v4") >= 3
    assert "fresh has no finished episode yet: left out" in err
    assert "sb3 does not name its environment: assumed to be Hopper-v4" in err
    assert "sb3 has no Monitor files: its returns are the means in progress.csv" in err


def test_console_report_plot_and_sweep_show_the_same_final_return(tmp_path, cli_here, uncompiled_here):
    done = cli_here(
        "--env",
        "CartPole-v1",
        "--num-envs",
        "4",
        "--timesteps-per-actorbatch",
        "4096",
        "--optim-epochs",
        "1",
        "--max-iters",
        "1",
        "--report",
        "false",
        "--run-dir",
        tmp_path / "run",
    )
    (found,) = re.findall(r"mean return of the last 100 training episodes: (.+)", done.stdout)
    (run,) = load([tmp_path])[0]["CartPole-v1"]
    # EpRewMean averages other episodes: those of the last environments
    assert run.rows["EpRewMean"][-1] != run.curve.final_return(100)
    groups = compare(group_runs({"CartPole-v1": [run]}))["environments"]["CartPole-v1"]["groups"]
    sweeps = SweepDirectory(tmp_path / "sweep")
    (tmp_path / "run").rename(sweeps.path)
    figures = sweeps.mark_done(SimpleNamespace(name=".", limits={"max_iters": 1}))
    for mean in (groups["classic"]["mean"], figures["mean_return"]):
        assert f"{mean:.6g}" == found
    assert headline_metrics(run, {})[0][1] == format_number(figures["mean_return"])


def test_without_monitor_files_the_final_return_is_that_of_the_log(
    tmp_path,
):
    training, folder = SimpleNamespace(rewbuffer=[1.0, 2.0, 6.0]), SimpleNamespace(path=tmp_path)
    assert final_return(training, folder) == 3.0
    (tmp_path / "0.0.monitor.csv").write_text("damaged\n")
    assert final_return(training, folder) == 3.0
    (tmp_path / "0.0.monitor.csv").unlink()
    (tmp_path / "progress.csv").write_text("EpRewMean,TimestepsSoFar\n1.5,10\n2.5,20\n")
    assert final_return(training, folder) == 2.5


def test_log_directories_of_baselines_and_sb3_are_plotted(tmp_path, capsys):
    data = jobs.ROOT / "tests" / "data"
    for x in ("steps", "time", "episodes"):
        status, out, err = run_plot(
            capsys, data / "baselines", data / "stable_baselines3", "--x", x, "--out", tmp_path / "x.png"
        )
        assert (
            (status, err) == (0, "")
            and "│ baselines" in out
            and "│ stable_baselines3" in out
            and out.count("CartPole-v1 ") >= 2
        )
    # rewards of 1 per step: 35 episodes of 2,275 steps in all, 76 of 2,020
    status, out, err = run_plot(capsys, data, "--json", "--out", tmp_path / "x.png")
    groups = json.loads(out)["environments"]["CartPole-v1"]["groups"]
    assert groups["baselines"]["mean"] == pytest.approx(2275 / 35) and groups["stable_baselines3"][
        "mean"
    ] == pytest.approx(2020 / 76)


# ---- the figure


@pytest.mark.parametrize("x", ["steps", "time", "episodes"])
def test_the_figure_names_environments_groups_and_seeds(x, tmp_path):
    write_groups(tmp_path, low=B, high=A)
    monitored(tmp_path / "swimmer", range(200), "Swimmer-v4", {"clip_param": "low"})
    draw(group_runs(load([tmp_path])[0]), tmp_path / "x.svg", x, title="Two of them")
    text = (tmp_path / "x.svg").read_text()
    ElementTree.fromstring(text)
    for part in (
        "Two of them",
        "Hopper-v4",
        "Swimmer-v4",
        "clip_param=low (3 seeds)",
        "clip_param=high (4 seeds)",
        "clip_param=low (1 seed)",
    ):
        assert f"<!-- {part} -->" in text  # letters are paths; the text is in a comment


def test_the_figure_is_written_in_the_format_of_its_suffix(tmp_path):
    groups = group_runs(load([monitored(tmp_path / "run", [1, 2, 3])])[0])
    for suffix in plot.SUFFIXES:
        draw(groups, tmp_path / f"x{suffix}")
    Image.open(tmp_path / "x.png").verify()
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF") and "<svg" in (tmp_path / "x.svg").read_text()


def test_a_curve_that_ends_early_is_reported(tmp_path, capsys):
    monitored(tmp_path / "a-seed0", range(10))
    monitored(tmp_path / "a-seed1", range(100))
    assert "a: the curve ends at 100 steps" in run_plot(capsys, tmp_path, "--out", tmp_path / "x.png")[2]


# ---- the command line


@pytest.mark.parametrize(
    "words, part",
    [
        (["nowhere"], "nowhere: no such file or directory"),
        (["--out", "x.jpg"], ".png, .pdf, .svg"),
        (["--window", "0"], "--window 0"),
        (["--final", "-3"], "--final -3"),
        (["--group", "clip_parm"], "clip_param"),
        (["--x", "hours"], "steps"),
        (["--out", "/proc/no/where/x.png"], "cannot write to --out /proc/no/where/x.png"),
        (["--grup", "lam"], "--group"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(words, part, tmp_path, capsys):
    run = monitored(tmp_path / "run", [1], settings={"clip_param": 0.1})
    status, out, err = run_plot(capsys, *([run] if words[0].startswith("--") else []), *words)
    assert (status, out) == (2, "")
    assert err.startswith("baselines_ppo.plot: error: ") and err.count("\n") == 1 and part in err


def test_help_imports_nothing_heavy_and_a_comparison_no_tensorflow(tmp_path):
    run = monitored(tmp_path / "run", [1])
    code = (
        "import sys; from baselines_ppo.plot.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'gymnasium', 'mpi4py', 'matplotlib', 'scipy', 'rich'} & set(sys.modules); assert not heavy, heavy\n"
        f"assert main([{str(run)!r}, '--out', {str(tmp_path / 'x.png')!r}]) == 0\n"
        "heavy = {'tensorflow', 'gymnasium', 'mpi4py', 'matplotlib.pyplot'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=jobs.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--group" in done.stdout and done.stderr == ""
