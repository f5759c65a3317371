"""Factor screening: the plan is orthogonal, and the estimated effects are correct."""

import numpy as np
import pytest

from baselines_ppo.cli.parser import parse
from benchmarks.returns import factor_screening, training_queue
from benchmarks.returns.result_files import ResultFile, TrainingJob

SIGNS = np.array([factor_screening.pair_signs(pair) for pair in range(32)])


def test_settings_are_uncorrelated_over_32_pairs():
    np.testing.assert_array_equal(SIGNS.T @ SIGNS, 32 * np.eye(len(factor_screening.FACTORS)))
    for task in factor_screening.TASKS[0]:  # no two settings are equal in all pairs of a task
        own = SIGNS[[factor_screening.task_of(pair) == task for pair in range(32)]]
        assert len(own) == 8 and np.abs(np.triu(own.T @ own, 1)).max() < 8


def test_regression_recovers_effects_and_standard_errors():
    rng, (effect, other) = np.random.default_rng(0), (0.5, -1.5)
    chosen = np.array([factor_screening.run_levels(number) for number in range(64)])
    tasks = [factor_screening.task_of(number // 2) for number in range(64)]
    means = {task: 10.0 * i for i, task in enumerate(factor_screening.TASKS[0])}
    scores = np.array([means[task] for task in tasks]) + chosen[:, 3] * effect + chosen[:, 7] * other
    exact = factor_screening.regress(chosen, tasks, scores)
    np.testing.assert_allclose(exact[[3, 7], 0], [effect, other])
    np.testing.assert_allclose(np.delete(exact[:, 0], [3, 7]), 0, atol=1e-9)
    noisy = factor_screening.regress(chosen, tasks, scores + 0.1 * rng.standard_normal(64))
    # balanced levels: a difference of two means of 32 runs
    np.testing.assert_allclose(noisy[:, 1], 0.1 * np.sqrt(2 / 32), rtol=0.35)
    assert (np.abs(noisy[:, 0] - exact[:, 0]) < 3.5 * noisy[:, 1]).all()
    for few in (0, 19, 24):  # none, too few, linearly dependent
        with pytest.raises(ValueError, match=f"^{few} runs do not determine 16 effects$"):
            factor_screening.regress(chosen[:few], tasks[:few], scores[:few])


def test_levels_are_read_from_a_line_unless_it_has_other_settings():
    line = {
        "setting": " ".join(
            f"{name}={choices[i % 2]}" for i, (name, choices) in enumerate(factor_screening.FACTORS.items())
        )
    }
    assert factor_screening.levels_of_line(line) == [i % 2 for i in range(len(factor_screening.FACTORS))]
    assert factor_screening.levels_of_line({"setting": line["setting"].replace("num_envs=8", "num_envs=9")}) is None
    assert factor_screening.levels_of_line({"setting": line["setting"] + " beta=1"}) is None


def test_pairs_have_opposite_levels_on_one_task_and_seed():
    plan, chosen = (
        factor_screening.jobs(128, 10),
        np.array([factor_screening.run_levels(number) for number in range(128)]),
    )
    for one, other in zip(plan[::2], plan[1::2]):
        assert (one.env, one.seed) == (other.env, other.seed) and one.seed >= 1000
    assert (chosen[::2] + chosen[1::2] == 1).all() and (2 * chosen[:64:2] - 1 == SIGNS).all()
    for block, tasks in enumerate(factor_screening.TASKS):
        assert [[job.env for job in plan[64 * block : 64 * (block + 1)]].count(task) for task in tasks] == [16] * 4
    for pair in range(32):  # the second round uses every row on another task
        assert factor_screening.task_of(pair) != factor_screening.task_of(pair + 64)
    for number, job in enumerate(plan[:4]):
        typed, _ = parse(["--env", job.env, *job.arguments])
        assert typed.keys() == factor_screening.FACTORS.keys() | {"env", "preset"} and typed["preset"] == "mujoco"
        assert typed["num_envs"] == int(factor_screening.FACTORS["num_envs"][chosen[number, 0]])
    assert all(len(training_queue.directory_name(job)) <= 200 for job in plan)
    assert len({training_queue.directory_name(job) for job in plan}) == len(plan)


def test_first_level_of_each_setting_is_that_of_the_preset():
    now = factor_screening.jobs(1)[0].arguments
    settings = TrainingJob("", "", "Hopper-v4", 0, 10, ("--preset", "mujoco")).settings
    first = [
        word for name, (level, _) in factor_screening.FACTORS.items() for word in ("--" + name.replace("_", "-"), level)
    ]
    assert (
        TrainingJob("", "", "Hopper-v4", 0, 10, ("--preset", "mujoco", *first)).settings == settings
        and len(first) == len(now) - 2
    )


def test_table_has_one_row_per_setting_and_the_task_means(results_here):
    results, lam = ResultFile("screening"), list(factor_screening.FACTORS).index("lam")
    for number, job in enumerate(factor_screening.jobs(64, 10)):
        results.add(
            {
                "benchmark": job.benchmark,
                "setting": job.setting,
                "env": job.env,
                "seed": job.seed,
                "steps": 10,
                "settings": job.settings,
                "deterministic": [100.0 + 8 * factor_screening.run_levels(number)[lam]] * 20,
            }
        )
    table = factor_screening.report(10).splitlines()
    assert len(table) == 4 + len(factor_screening.FACTORS) + 3 and table[4].startswith(
        "| lam 0.9 -> 0.95 | +2.00 ± 0.00 | +8 | +8 | +8 | +8 |"
    )
    assert table[-3].count("104 (16)") == 4


def test_effects_are_independent_of_task_means_and_products_of_settings():
    rng, true = np.random.default_rng(0), np.zeros(len(factor_screening.FACTORS))
    true[[0, 5]] = 2.0, -1.0
    means = 1000 * rng.standard_normal(32)  # one per task and seed
    products = 10 * SIGNS[:, 1] * SIGNS[:, 2]  # equal in both runs of a pair
    first, second = (means + products + sign * SIGNS @ true / 2 for sign in (1, -1))
    np.testing.assert_allclose(factor_screening.estimate_effects(SIGNS, first - second)[:, 0], true, atol=1e-9)
    found = factor_screening.estimate_effects(SIGNS, first - second + 0.5 * rng.standard_normal(32))
    assert (np.abs(found[:, 0] - true) < 2 * found[:, 1]).all() and (found[:, 1] < 0.5).all()
    few = len(factor_screening.FACTORS)
    for pairs in (few - 2, few):  # rank-deficient, and as many pairs as settings
        with pytest.raises(ValueError, match=f"do not determine {few} effects"):
            factor_screening.estimate_effects(SIGNS[:pairs], np.zeros(pairs))
    with pytest.raises(ValueError, match=f"do not determine {few} effects"):
        factor_screening.estimate_effects(SIGNS[[0] * 20], np.zeros(20))  # enough pairs, all equal
