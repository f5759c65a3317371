"""The search space: from the settings' fields, and from --search."""

import pytest

from baselines_ppo.config.registry import SETTINGS
from baselines_ppo.config.settings import ALGORITHMS
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.tune.search_space import Dimension, chosen_space, default_space, dimension_of, parse_dimension
from common.errors import UserError


def resolve(explicit):
    return resolve_config(explicit, 1, 1)


def default_names(**fixed):
    fixed = {"env": "Hopper-v4", **fixed}
    return {one.name for one in default_space(fixed, resolve, resolve(fixed).run.alg)}


@pytest.mark.parametrize(
    "word, dimension",
    [
        ("clip_param", Dimension("clip_param", 0.1, 0.4)),
        ("clip-param=0.1:0.3", Dimension("clip_param", 0.1, 0.3)),
        ("optim_stepsize=1e-5:1e-2", Dimension("optim_stepsize", 1e-5, 1e-2, log=True)),  # as its field
        ("entcoeff=0:0.1", Dimension("entcoeff", 0.0, 0.1)),  # 0 has no logarithm
        ("hid_size=16:256:log", Dimension("hid_size", 16, 256, log=True)),
        ("optim_batchsize=64,128,none", Dimension("optim_batchsize", choices=(64, 128, None))),
        ("scale_returns", Dimension("scale_returns", choices=(False, True))),
        ("activation=tanh,relu", Dimension("activation", choices=("tanh", "relu"))),
        ("normalize_ob", Dimension("normalise_ob", choices=(False, True))),  # an alias
    ],
)
def test_words_of_search_are_dimensions_and_back(word, dimension):
    assert parse_dimension(word) == dimension
    assert parse_dimension(str(dimension)) == dimension


@pytest.mark.parametrize("name", [name for name, one in SETTINGS.items() if one.info.search])
def test_usual_values_of_every_setting_are_valid(name):
    one = dimension_of(SETTINGS[name])
    assert one.choices or one.low < one.high and (one.low > 0 or not one.log)
    algs = [alg for alg in ALGORITHMS if alg in SETTINGS[name].defaults] or ["ppo"]
    for alg in algs:
        memory = {"memory": "lstm"} if name.startswith("memory") else {}
        for value in one.ends():
            fixed = {"env": "Hopper-v4", "alg": alg, **memory}
            assert resolve(fixed | {name: value}).run


def test_default_search_has_what_the_algorithm_reads():
    ppo = {"gamma", "lam", "entcoeff", "optim_stepsize", "optim_batchsize", "optim_epochs"}
    assert default_names() == ppo | {"clip_param"}
    assert default_names(objective="adaptive_kl") == ppo | {"kl_target", "beta"}
    assert default_names(gamma=0.9, lam=1.0) == default_names() - {"gamma", "lam"}
    assert default_names(alg="trpo") == {"gamma", "lam", "entcoeff", "max_kl", "cg_damping", "vf_stepsize", "vf_iters"}
    assert default_names(preset="a2c") == {"gamma", "lam", "entcoeff", "optim_stepsize"}


def test_default_choices_larger_than_a_rollout_are_left_out():
    fixed = {"env": "Hopper-v4", "timesteps_per_actorbatch": 128}
    (batch,) = (one for one in default_space(fixed, resolve, "ppo") if one.name == "optim_batchsize")
    assert batch.choices == (32, 64, 128)


@pytest.mark.parametrize(
    "words, parts",
    [
        (["clip_parm"], ["'clip_parm'", "--help"]),
        (["env"], ["env", "--env"]),
        (["hidden"], ["hidden", "single numbers"]),
        (["num_timesteps=1:2"], ["num_timesteps", "--num-timesteps"]),
        (["ob_clip"], ["ob_clip", "ob_clip=1:10"]),
        (["clip_param=0.3:0.1"], ["0.3:0.1", "below"]),
        (["clip_param=0.1:inf"], ["0.1:inf", "finite"]),
        (["clip_param=0.1:0.2:exp"], ["0.1:0.2:exp", "LOW:HIGH:log"]),
        (["entcoeff=0:1:log"], ["0:1:log", "above 0"]),
        (["clip_param=0:0.3"], ["clip_param=0.0", "greater than 0"]),
        (["optim_batchsize=64,4096"], ["optim_batchsize=4096", "at most"]),
        (["optim_batchsize=64"], ["optim_batchsize=64", "two values"]),
        (["optim_epochs=2:2.5"], ["'2.5'", "an integer"]),
        (["activation=tanh,sinh"], ["'sinh'", "relu"]),
        (["gamma", "gamma"], ["gamma twice"]),
        (["kl_target"], ["kl_target", "adaptive_kl"]),
        (["max_kl"], ["--max-kl", "trpo"]),
        (["seed=1,2"], ["seed", "--seed"]),
    ],
)
def test_invalid_searches_are_refused_with_value_limit_and_fix(words, parts):
    with pytest.raises(UserError) as error:
        chosen_space(words, {"env": "Hopper-v4"}, resolve)
    assert all(part in str(error.value) for part in parts), error.value


def test_a_setting_is_either_given_or_searched():
    with pytest.raises(UserError, match="--gamma is both given and searched"):
        chosen_space(["gamma"], {"env": "Hopper-v4", "gamma": 0.9}, resolve)
