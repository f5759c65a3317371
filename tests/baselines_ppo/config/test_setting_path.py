"""The path of a setting from the command line to the update: few files, and each call leads to a lower layer."""

import itertools
import sys
from pathlib import Path

import jobs
import pytest

from baselines_ppo.cli import options
from baselines_ppo.config.settings import PPOSettings

VALUE = 0.123456  # of clip_param, found nowhere else
SHORT = ["--timesteps-per-actorbatch", "64", "--optim-batchsize", "32", "--optim-epochs", "1", "--max-iters", "1"]
MAX_FILES = 15
WRAPPER = "baselines_ppo/cli/errors.py"  # reports the errors of a command, and passes no value


def files_of_stack():
    """Our files on the call stack, from the outermost call, each once for consecutive calls in it."""
    frame, found = sys._getframe(2), []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(jobs.ROOT) and not path.is_relative_to(jobs.ROOT / "tests"):
            name = str(path.relative_to(jobs.ROOT))
            found += [] if name == WRAPPER else [name]
        frame = frame.f_back
    return tuple(name for name, _ in itertools.groupby(reversed(found)))


class RecordedField:
    """The field `clip_param`, which records the call stacks that set and read the value."""

    def __init__(self):
        self.default, self.stacks = PPOSettings.clip_param, []

    def __get__(self, settings, owner):
        if settings is None:
            return self.default
        is_generated = sys._getframe(1).f_code.co_filename == "<string>"  # a dataclass's __hash__ or __eq__
        if settings.__dict__["clip_param"] == VALUE and not is_generated:
            self.stacks.append(files_of_stack())
        return settings.__dict__["clip_param"]

    def __set__(self, settings, value):
        settings.__dict__["clip_param"] = value
        if value == VALUE:
            self.stacks.append(files_of_stack())


@pytest.fixture
def stacks(monkeypatch, cli_here, uncompiled_here, tmp_path):
    """The call stacks that convert, set or read the value in a run of one iteration."""
    field = RecordedField()
    convert = options.convert_setting

    def recorded_convert(setting, text):
        if text == str(VALUE):
            field.stacks.append((*files_of_stack(), "baselines_ppo/config/converters.py"))
        return convert(setting, text)

    monkeypatch.setattr(options, "convert_setting", recorded_convert)
    monkeypatch.setattr(PPOSettings, "clip_param", field)
    words = ["--env", "CartPole-v1", *SHORT, "--clip-param", VALUE, "--report", "false", "--quiet"]
    assert cli_here(*words, "--run-dir", tmp_path / "run").returncode == 0
    return sorted(set(field.stacks))


def test_a_setting_passes_few_files_and_none_twice(stacks):
    files = {name for stack in stacks for name in stack}
    assert "baselines_ppo/pposgd_simple.py" in files and "baselines_ppo/config/resolve.py" in files
    assert len(files) <= MAX_FILES, sorted(files)
    for stack in stacks:
        assert len(stack) == len(set(stack)), stack  # no way back up
