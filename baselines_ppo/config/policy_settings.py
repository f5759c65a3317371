"""Settings of the policies: the keyword arguments of `MlpPolicy` and `CnnPolicy`. Imports no TensorFlow."""

from dataclasses import dataclass, fields
from typing import Any

from baselines_ppo.config.setting_fields import Search, SettingsBase, setting, setting_info, setting_like

WIDTHS = Search(choices=(32, 64, 128, 256))
MAX_LAYERS = 1000
MAX_MIN_STD = 1e30
MAX_LOGSTD = 80  # exp(80), and its inverse, are within float32


@dataclass(frozen=True)
class MlpPolicySettings(SettingsBase):
    """Settings of `MlpPolicy`."""

    hid_size: int = setting(
        64, "mlp, mixed: width of the hidden layers", group="policy", allowed="count", search=WIDTHS
    )
    num_hid_layers: int = setting(
        2,
        "mlp, mixed: number of hidden layers",
        group="policy",
        allowed="nonnegative",
        upper=MAX_LAYERS,
        search=Search(1, 3),
    )
    gaussian_fixed_var: bool = setting(
        True,
        "mlp, mixed: one log standard deviation for all observations; false: an output of the network",
        group="policy",
    )
    vf_hid_size: int | None = setting(
        None,
        "mlp, mixed: width of the value function's hidden layers",
        group="policy",
        allowed="count",
        unset="as hid_size",
        search=WIDTHS,
    )
    hidden: list[int] | None = setting(
        None,
        "mlp, mixed: widths of the hidden layers, such as 256 128",
        group="policy",
        unset="num_hid_layers of hid_size",
    )
    activation: str = setting(
        "tanh", "mlp, mixed: activation of the hidden layers", group="policy", choices=("tanh", "relu", "elu", "silu")
    )
    layer_norm: bool = setting(False, "normalise hidden layers and memory", group="policy")
    memory: str | None = setting(
        None, "remember earlier observations of an episode", group="policy", choices=("lstm", "gru")
    )
    memory_size: int = setting(64, "number of units of the memory", group="policy", allowed="count", search=WIDTHS)
    memory_steps: int = setting(
        32,
        "steps of one sequence of the update, through which the memory's gradients flow",
        group="policy",
        allowed="count",
    )
    init: str = setting("normc", "initial weights", group="policy", choices=("normc", "orthogonal"), init_only=True)
    init_logstd: float = setting(
        0.0,
        "initial log standard deviation of a Gaussian policy",
        group="policy",
        allowed="finite",
        lower=-MAX_LOGSTD,
        upper=MAX_LOGSTD,
        init_only=True,
        search=Search(-2.0, 0.0),
    )
    shared_trunk: bool = setting(
        False, "mlp, mixed: the value function reads the last hidden layer of the policy", group="policy"
    )
    normalise_ob: bool = setting(
        True,
        "mlp, mixed: normalise observations by their running mean and standard deviation",
        group="policy",
        aliases=("normalize_ob",),
    )
    ob_clip: float = setting(
        5.0, "mlp, mixed: clip normalised observations to plus or minus this", group="policy", allowed="positive"
    )
    ob_min_std: float = setting(
        0.1,
        "mlp, mixed: lower bound of the standard deviation by which observations are divided",
        group="policy",
        allowed="nonnegative",
        upper=MAX_MIN_STD,
    )


@dataclass(frozen=True)
class CnnPolicySettings(SettingsBase):
    """Settings of `CnnPolicy`."""

    kind: str = setting(
        "large",
        "cnn, mixed: large (Nature's network) or small (A3C's network)",
        group="policy",
        choices=("large", "small"),
    )
    init: str = setting_like(MlpPolicySettings, "init", "normc")
    init_logstd: float = setting_like(MlpPolicySettings, "init_logstd", 0.0)
    channels: str | None = setting(
        None,
        "cnn, mixed: axis of an image that holds the channels: first, last, or smaller (the one with fewer entries); "
        "mixed: or such a list as camera=first,map=last",
        group="policy",
        unset="detected if only one axis is possible",
        before="smaller",
    )
    precision: str = setting(
        "float32",
        "cnn, mixed: precision of the products of convolutional networks; auto: bfloat16 if the processor or GPU has "
        "instructions for it",
        group="policy",
        choices=("float32", "bfloat16", "auto"),
    )
    memory: str | None = setting_like(MlpPolicySettings, "memory", None)
    memory_size: int = setting_like(MlpPolicySettings, "memory_size", 64)
    memory_steps: int = setting_like(MlpPolicySettings, "memory_steps", 32)
    layer_norm: bool = setting_like(MlpPolicySettings, "layer_norm", False)


@dataclass(frozen=True)
class MixedPolicySettings(MlpPolicySettings):
    """Settings of `MixedPolicy`: those of `MlpPolicy`, and of `CnnPolicy` for its images."""

    kind: str = setting_like(CnnPolicySettings, "kind", "large")
    channels: str | None = setting_like(CnnPolicySettings, "channels", None)
    precision: str = setting_like(CnnPolicySettings, "precision", "float32")


PolicySettings = MlpPolicySettings | CnnPolicySettings
POLICIES: dict[str, type[PolicySettings]] = {
    "mlp": MlpPolicySettings,
    "cnn": CnnPolicySettings,
    "mixed": MixedPolicySettings,
}
# --network of Baselines' ppo2 -> the settings that it means
BASELINES_NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"policy": "mlp", "memory": "lstm"},
    "lnlstm": {"policy": "mlp", "memory": "lstm", "layer_norm": True},
    "cnn_small": {"policy": "cnn", "kind": "small"},
    "cnn_lstm": {"policy": "cnn", "memory": "lstm"},
    "cnn_lnlstm": {"policy": "cnn", "memory": "lstm", "layer_norm": True},
}
# names of the classes, which import TensorFlow; `baselines_ppo.policy_registry` has the classes themselves
POLICY_CLASS_NAMES = {"mlp": "MlpPolicy", "cnn": "CnnPolicy", "mixed": "MixedPolicy"}


def values_before(settings_class: type) -> dict[str, Any]:
    """Return {name: value} for files older than a setting, of the settings whose value was not the default then."""
    return {one.name: value for one in fields(settings_class) if (value := setting_info(one).before) is not None}


OLDER_CNN = values_before(CnnPolicySettings)
