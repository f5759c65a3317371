"""Comparisons of runs: groups, statistics against hand calculation, caveats, the figure, and the output."""

import json
import re
import subprocess
import sys
from math import sqrt
from types import SimpleNamespace
from xml.etree import ElementTree

import jobs
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from baselines_ppo.experiment.summary import final_return
from baselines_ppo.plot import command as plot
from baselines_ppo.plot.caveats import caveats
from baselines_ppo.plot.figure import bootstrap_band, draw, on_common_grid
from baselines_ppo.plot.grouping import group_runs, load
from baselines_ppo.plot.significance import compare, holm_correction, summary_statistics, welch
from baselines_ppo.plot.table import print_table
from baselines_ppo.report.summary import headline_metrics
from baselines_ppo.sweep.directory import SweepDirectory
from common.formatting import format_number

A, B = [300.0, 320.0, 310.0, 330.0], [100.0, 150.0, 90.0]


def monitored(folder, returns, env="Hopper-v4", settings=None, typed=(), seed=0):
    """Write a run directory whose episodes, of 10 steps and 1 s, have these returns."""
    folder.mkdir(parents=True)
    lines = [
        f"#{json.dumps({'t_start': 0.0, 'env_id': env})}",
        "r,l,t",
        *(f"{r},10,{i + 1}" for i, r in enumerate(returns)),
    ]
    (folder / "0.0.monitor.csv").write_text("\n".join(lines) + "\n")
    if settings is not None:
        settings = {"env": env, "preset": "mujoco", "alg": "ppo", "seed": seed, "run_dir": str(folder)} | settings
        (folder / "config.json").write_text(
            json.dumps({"settings": settings, "typed": dict.fromkeys(typed), "ranks": 1})
        )
    return folder


def write_groups(root, **finals):
    """Write the runs of several groups, {clip_param: [final return per seed]}."""
    for clip, returns in finals.items():
        for seed, r in enumerate(returns):
            monitored(root / clip / str(seed), [r], settings={"clip_param": clip}, typed=["clip_param"], seed=seed)
    return root


def groups_of(*paths, key=None):
    return {
        env: {name: sorted(run.path.name for run in runs) for name, runs in several.items()}
        for env, several in group_runs(load(paths)[0], key).items()
    }


def printed(capsys, *paths):
    print_table(compare(group_runs(load(paths)[0])), sys.stdout)
    return capsys.readouterr().out


def run_plot(capsys, *words):
    status = plot.main([str(word) for word in words])
    return (status, *capsys.readouterr())


# ---- groups


def test_runs_that_differ_only_in_the_seed_are_one_group(tmp_path):
    for seed in range(3):
        monitored(tmp_path / f"run{seed}", [1, 2], settings={"quiet": bool(seed), "lam": 0.9}, seed=seed)
    assert groups_of(tmp_path) == {"Hopper-v4": {"mujoco": ["run0", "run1", "run2"]}}


def test_runs_are_grouped_by_the_settings_that_differ_within_an_environment(tmp_path):
    for i, (clip, env) in enumerate([(0.1, "Hopper-v4"), (0.2, "Hopper-v4"), (0.2, "Swimmer-v4")]):
        monitored(tmp_path / str(i), [1], env, {"clip_param": clip, "num_timesteps": len(env)}, ["clip_param"])
    assert groups_of(tmp_path) == {
        "Hopper-v4": {"clip_param=0.1": ["0"], "clip_param=0.2": ["1"]},
        "Swimmer-v4": {"clip_param=0.2": ["2"]},
    }


def test_settings_that_follow_from_a_preset_are_not_named(tmp_path):
    monitored(tmp_path / "a", [1], settings={"preset": "ppo1", "vf_coef": 1.0, "entcoeff": 0.0}, typed=["preset"])
    monitored(tmp_path / "b", [1], settings={"preset": "mujoco", "vf_coef": 0.5, "entcoeff": 0.1}, typed=["entcoeff"])
    assert groups_of(tmp_path) == {"Hopper-v4": {"mujoco, entcoeff=0.1": ["b"], "ppo1, entcoeff=0.0": ["a"]}}


def test_a_given_setting_defines_the_groups(tmp_path):
    for i in range(4):
        monitored(
            tmp_path / str(i), [1], settings={"clip_param": i % 2, "lam": i // 2, "policy_settings": {"hid_size": i}}
        )
    assert groups_of(tmp_path, key="lam") == {"Hopper-v4": {"lam=0": ["0", "1"], "lam=1": ["2", "3"]}}
    assert len(groups_of(tmp_path, key="hid_size")["Hopper-v4"]) == 4


def test_without_settings_the_directory_is_the_group(tmp_path):
    for name in ("ppo2-seed0", "ppo2-seed1", "trpo-32", "sb3/seed7"):
        monitored(tmp_path / name, [1])
    assert groups_of(tmp_path) == {
        "Hopper-v4": {"ppo2": ["ppo2-seed0", "ppo2-seed1"], "sb3": ["seed7"], "trpo-32": ["trpo-32"]}
    }


def test_a_run_found_by_two_paths_is_one_seed(tmp_path):
    run = monitored(tmp_path / "a" / "run", [1])
    assert groups_of(tmp_path, run, tmp_path / "a") == {"Hopper-v4": {"run": ["run"]}}


# ---- statistics


def test_interval_of_a_group_is_students():
    # mean 2, standard deviation 1, and 4.30265 is Student's 97.5 % quantile at 2 degrees of freedom, from a printed table
    found = summary_statistics(np.array([1.0, 2.0, 3.0]))
    assert (found["mean"], found["deviation"], found["best"]) == (2, 1, 3)
    assert found["interval"] == pytest.approx([2 - 4.30265 / sqrt(3), 2 + 4.30265 / sqrt(3)], abs=1e-4)


def test_difference_agrees_with_welchs_formulas():
    a, b = np.array(A), np.array(B)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error, freedom = sqrt(sum(parts)), sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    difference = 315 - 340 / 3
    found = welch("b", b, "a", a)
    assert (found["a"], found["b"]) == ("a", "b")
    assert found["difference"] == pytest.approx(difference)
    assert found["p"] == pytest.approx(2 * stats.t.sf(difference / error, freedom))
    half = stats.t.ppf(0.975, freedom) * error
    assert found["interval"] == pytest.approx([difference - half, difference + half])


def test_holms_correction_agrees_with_hand_calculation():
    # 3 x 0.01; 2 x 0.03; 1 x 0.04, which must not be less than the previous one
    assert holm_correction([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm_correction([0.5, 0.6]) == [1.0, 1.0]


def test_the_bootstrap_band_of_two_seeds_spans_both():
    # a quarter of the resamples has the lower seed twice, another the upper one: far more than 2.5 % each
    low, high = bootstrap_band(np.array([[0.0, 5.0], [10.0, 5.0]]), np.random.default_rng(0))
    assert low.tolist() == [0, 5] and high.tolist() == [10, 5]


def test_curves_are_averaged_where_all_seeds_have_a_value(tmp_path):
    monitored(tmp_path / "s1", [0, 2, 4, 6])
    monitored(tmp_path / "s2", [10, 12])
    runs = load([tmp_path])[0]["Hopper-v4"]
    grid, returns, longest = on_common_grid(runs, "steps", 1)
    assert (grid[0], grid[-1], longest) == (10, 20, 40)
    np.testing.assert_allclose(returns.mean(axis=0), 5 + (grid - 10) * 0.2)  # both rise by 2 in 10 steps


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
