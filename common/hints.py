"""Hints in error messages, in two wordings: arguments of `learn`, and flags of the command line.

Code that raises an error uses the wording for `learn`. The command line replaces it (`in_flags`), so that no module
below has to know who its caller is.
"""

RUN_DIR_TAKEN = "already contains a run; choose another run_dir"
OTHER_RUN_DIR = "choose another run_dir"
OTHER_SWEEP_DIR = "choose another sweep_dir"
OTHER_TUNE_DIR = "choose another tune_dir"
RESUME_HINT = "start again, from a checkpoint with load_path if there is one"
START_FROM_CHECKPOINT = "start again from the last checkpoint with load_path"
RESUME_AFTER_STALL = (
    "start again from the last checkpoint with load_path, or raise the watchdog's timeout if this is normal"
)
RESTART_AFTER_STALL = "no iteration had started: start again, and raise the watchdog's timeout if this is normal"
SCALE_REWARDS = "scale the rewards to the order of 1: scale_returns=True, or a gymnasium.wrappers.TransformReward"
USE_MLP = "use MlpPolicy"
USE_SMALL_CNN = "set kind='small'"
USE_CNN = "use CnnPolicy"
CHOOSE_CHANNELS = "set channels='first' or channels='last'"
SET_CHANNELS = "set channels to"  # followed by the value
NO_WINDOW = "leave it out, or use render_mode='rgb_array'"
LIMIT_LINEAR = "set max_timesteps or max_iters, or use schedule='constant'"
LIMIT_DISCOUNT = "set max_timesteps or max_iters, or leave gamma_final out"

# the longer of two hints comes first if one contains the other
IN_FLAGS = {
    RUN_DIR_TAKEN: "already contains a run; resume it with --resume, or choose another --run-dir",
    OTHER_RUN_DIR: "choose another --run-dir",
    OTHER_SWEEP_DIR: "choose another --sweep-dir",
    OTHER_TUNE_DIR: "choose another --tune-dir",
    RESUME_AFTER_STALL: "resume with --resume auto, and raise --stall-timeout if this is normal",
    RESTART_AFTER_STALL: "no iteration had started: start again, and raise --stall-timeout if this is normal",
    RESUME_HINT: "resume with --resume",
    START_FROM_CHECKPOINT: "resume from the last checkpoint with --resume",
    SCALE_REWARDS: "scale the rewards to the order of 1: --reward-scale X, or --scale-returns",
    USE_MLP: "use --policy mlp",
    USE_SMALL_CNN: "set --kind small",
    USE_CNN: "use --policy cnn",
    CHOOSE_CHANNELS: "set --channels first or --channels last",
    SET_CHANNELS: "set --channels",
    NO_WINDOW: "leave it out (--play --video FILE.gif records a trained policy), or use render_mode='rgb_array'",
    LIMIT_LINEAR: "set --num-timesteps or --max-iters, or use --schedule constant",
    LIMIT_DISCOUNT: "set --num-timesteps or --max-iters, or leave --gamma-final out",
}


def in_flags(text: str) -> str:
    """Return a message with its hints worded as command line flags."""
    for hint, flags in IN_FLAGS.items():
        text = text.replace(hint, flags)
    return text
