"""Settings resolved from flags, presets and defaults."""

import pytest
from configs import config_for

from baselines_ppo.config.combinations import check_flag_combinations, unused_settings
from baselines_ppo.config.presets import PRESETS
from common.errors import UserError


@pytest.mark.parametrize(
    "words, reason",
    [
        (
            ("--bootstrap-time-limits", "false"),
            "bootstrap_time_limits=False: an episode that is ended early would count as terminated",
        ),
        (("--preset", "reinforce"), "whole_episodes=True: an episode that is ended early is not whole"),
    ],
)
def test_stagger_is_refused_where_an_early_end_would_distort_returns(words, reason):
    assert config_for(*words).run.stagger is False
    assert config_for("--stagger", "true").run.stagger is True
    with pytest.raises(UserError, match=f"^invalid --stagger with {reason}; set --stagger false$"):
        config_for(*words, "--stagger", "true")


def test_a_presets_stagger_is_dropped_where_an_early_end_would_distort_returns():
    assert PRESETS["mujoco"].stagger and config_for("--preset", "mujoco").run.stagger is True
    assert config_for("--preset", "mujoco", "--stagger", "false").run.stagger is False
    assert config_for("--preset", "mujoco", "--bootstrap-time-limits", "false").run.stagger is False
    with pytest.raises(UserError, match="set --stagger false"):
        config_for("--preset", "mujoco", "--bootstrap-time-limits", "false", "--stagger", "true")


UNUSED = [
    (("--kl-target", "0.1", "--beta", "3", "--clip-param", "0.1"), ["kl_target", "beta"]),
    (("--objective", "adaptive_kl", "--kl-target", "0.1", "--beta", "3"), []),
    (("--vf-iters", "5", "--optim-stepsize", "1e-3", "--vf-stepsize", "1e-3", "--vf-coef", "1"), ["vf_coef"]),
    (("--hidden", "8", "--hid-size", "4", "--num-hid-layers", "1"), ["hid_size", "num_hid_layers"]),
    (("--memory-size", "4", "--memory-steps", "8"), ["memory_size", "memory_steps"]),
    (("--memory", "gru", "--memory-size", "4", "--hid-size", "4"), []),
    (("--preset", "reinforce", "--vf-coef", "0.1", "--vf-iters", "2"), ["vf_coef"]),
    (("--preset", "a2c", "--vf-coef", "0.1", "--vf-stepsize", "0.1"), ["vf_stepsize"]),
    (("--objective", "adaptive_kl", "--kl-target", "0.1", "--kl-min", "0.1", "--kl-max", "0.2"), ["kl_target"]),
    (
        ("--alg", "trpo", "--vf-iters", "0", "--vf-stepsize", "0.1", "--vf-batchsize", "32"),
        ["vf_stepsize", "vf_batchsize"],
    ),
    (("--preset", "reinforce", "--baseline", "mean", "--vf-iters", "2"), ["vf_iters"]),
    (("--alg", "trpo", "--vf-iters", "2", "--vf-stepsize", "0.1"), []),
    (("--ob-clip", "3"), ["ob_clip"]),
    (("--ob-clip", "3", "--normalise-ob", "true"), []),
]


@pytest.mark.parametrize("words, names", UNUSED)
def test_explicit_settings_without_effect_are_found(words, names):
    assert [name for name, _ in unused_settings(config_for(*words))] == names


def test_none_removes_a_presets_value():
    assert config_for().algorithm.max_grad_norm == PRESETS["classic"].learn["max_grad_norm"]
    assert config_for("--max-grad-norm", "none").algorithm.max_grad_norm is None
    assert config_for("--optim-batchsize", "none").algorithm.optim_batchsize is None


def test_a_bool_flag_without_a_value_is_true():
    assert config_for("--quiet").run.quiet is True
    assert config_for("--recompute-adv").algorithm.recompute_adv is True
    assert config_for("--scale-returns", "false").algorithm.scale_returns is False


@pytest.mark.parametrize("ranks, total", [(1, True), (4, True), (4, False)])
def test_counts_are_totals_over_ranks_unless_batch_is_per_rank(ranks, total):
    batch = "total" if total else "per-rank"
    algorithm = config_for("--batch", batch, "--timesteps-per-actorbatch", "4096", ranks=ranks).algorithm
    assert algorithm.timesteps_per_actorbatch == (4096 // ranks if total else 4096)


def test_eval_episodes_need_eval_every():
    check_flag_combinations({"eval_episodes": 5, "eval_every": 0})
    with pytest.raises(UserError, match="--eval-episodes needs --eval-every"):
        check_flag_combinations({"eval_episodes": 5})


def test_a_setting_that_contradicts_the_network_is_refused():
    assert config_for("--network", "lnlstm", "--memory", "lstm").policy.layer_norm is True
    with pytest.raises(UserError, match="--network lstm means memory=lstm, not gru; leave one of them out"):
        config_for("--network", "lstm", "--memory", "gru")
    with pytest.raises(UserError, match="layer_norm=True, not False"):
        config_for("--network", "lnlstm", "--layer-norm", "false")
