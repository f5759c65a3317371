"""Runs whose writes fail: injected faults, their messages, and the command lines that resume these runs."""

import file_faults
from run_files import SHORT, assert_same_run


def refused(words, folder, *args, **kwargs):
    """Run with a fault, and return the one line that the run prints about it."""
    ended = file_faults.run(words, folder, *args, **kwargs)
    assert ended.returncode == 1, ended
    (line,) = ended.stderr.splitlines()
    return line.removeprefix("run.py: error: cannot write ").removeprefix(f"{folder}/run/")


def words_for(run):
    """The command line that starts a run, or resumes it."""
    return ["--run-dir", run, "--resume"] if (run / "config.json").exists() else [*SHORT, "--run-dir", run]


# (injected fault, message); each run resumes from the files that the previous one has left
REFUSALS = [
    (
        ("open", "config.json", 1, "EACCES"),
        "config.json: Permission denied; there is no checkpoint; make it writable and restart",
    ),
    (
        ("open", "config.json", 2, "ENOSPC"),
        "config.json: No space left on device; there is no checkpoint yet; "
        "free some disk space and restart with --resume",
    ),
    (
        ("write", "0.1.monitor.csv", 2, "EDQUOT"),
        "0.1.monitor.csv: Disk quota exceeded; there is no checkpoint yet; "
        "free some disk space and restart with --resume",
    ),
    (
        ("fsync", "ckpt-00000006", 1, "ENOSPC"),
        "checkpoints/ckpt-00000006.safetensors: No space left on device; "
        "the last complete checkpoint is ckpt-00000003.safetensors; free some disk space and resume with --resume",
    ),
    (
        ("open", "ckpt-00000006", 1, "all files"),
        "checkpoints/ckpt-00000006.safetensors: Too many open files; "
        "the last complete checkpoint is ckpt-00000003.safetensors; "
        "allow more open files (ulimit -n) and resume with --resume",
    ),
    (
        ("rename", "policy/.policy", 1, "EROFS"),
        "policy/policy.safetensors: Read-only file system; "
        "the last complete checkpoint is ckpt-00000014-forced.safetensors; make it writable and resume with --resume",
    ),
]


def resume_to_the_end(run, whole):
    """Resume a run without a fault; it must end like an undisturbed one."""
    ended = file_faults.run(["--run-dir", run, "--resume"], run.parent)
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole)
