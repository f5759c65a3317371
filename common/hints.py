"""What messages advise, in the words of a caller of `learn`, and what the command line says instead.

Whoever raises an error writes the advice of this page for `learn`. `baselines_ppo.cli.parser.format_error` and `Job` put the command line's words in its place
(`in_flags`), so that nobody below them has to know who asked.
"""

TAKEN = "already holds a run; choose another run_dir"
OTHER_RUN_DIR = "choose another run_dir"
OTHER_SWEEP_DIR = "choose another sweep_dir"
RESUME_HINT = "start again, from a checkpoint by load_path if there is one"
FROM_POLICY = "start a new run from its policy, by load_path"
LAST = "start again from the last checkpoint by load_path"
STALLED = "checkpoints are whole: start again from one by load_path, or with a longer timeout of the heartbeat if this is no fault"
NOT_BEGUN = "no iteration had begun: start again, with a longer timeout of the heartbeat if this is no fault"
SCALE_REWARDS = "bring the rewards to the order of 1: scale_returns=True, or a gymnasium.wrappers.TransformReward"
USE_MLP = "use MlpPolicy"
USE_CNN = "use CnnPolicy"
CHOOSE_CHANNELS = "give channels='first' or channels='last'"
NO_WINDOW = "leave it out, or give render_mode='rgb_array'"
LIMIT_LINEAR = "limit it by max_timesteps or max_iters, or use schedule='constant'"

IN_FLAGS = {
    TAKEN: "already holds a run; go on with it by --resume, or choose another --run-dir",  # before the next, which is a part of it
    OTHER_RUN_DIR: "choose another --run-dir",
    OTHER_SWEEP_DIR: "choose another --sweep-dir",
    RESUME_HINT: "go on by --resume",
    FROM_POLICY: "start a new run from its policy, by --load-path",
    LAST: "go on from the last checkpoint by --resume",
    STALLED: "checkpoints are whole: go on with --resume auto, or with a longer --stall-timeout if this is no fault",
    NOT_BEGUN: "no iteration had begun: start again, with a longer --stall-timeout if this is no fault",
    SCALE_REWARDS: "bring the rewards to the order of 1: --reward-scale X, or --scale-returns",
    USE_MLP: "use --policy mlp",
    USE_CNN: "use --policy cnn",
    CHOOSE_CHANNELS: "give --channels first or --channels last",
    NO_WINDOW: "leave it out (--play --video FILE.gif films a trained policy), or give render_mode='rgb_array'",
    LIMIT_LINEAR: "limit it by --num-timesteps or --max-iters, or use --schedule constant",
}


def in_flags(text):
    """A message as the command line says it."""
    for words, flags in IN_FLAGS.items():
        text = text.replace(words, flags)
    return text
