"""Mutation testing: every mutation fits the source code, and its tests exist."""

import re

import jobs
import pytest

from benchmarks.robustness.mutation_testing import EQUATIONS, MUTATIONS, REQUIRED_TASKS, RETURNS, TASK, mutate


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_changes_the_current_source(name):
    texts = {file: (jobs.ROOT / file).read_text() for file, _, _ in MUTATIONS[name]}
    for edit in MUTATIONS[name]:
        mutated = mutate(texts[edit[0]], edit)
        assert mutated != texts[edit[0]]
        texts[edit[0]] = mutated
    for file, text in texts.items():
        compile(text, file, "exec")


def test_text_that_does_not_occur_once_is_rejected():
    with pytest.raises(ValueError, match="f.py contains 'a' 2 times instead of once"):
        mutate("a a", ("f.py", "a", "b"))


def test_tests_and_return_tasks_exist():
    from return_tasks import TASKS

    assert all((jobs.ROOT / path).is_file() for path in EQUATIONS + RETURNS)
    assert set(REQUIRED_TASKS) <= set(MUTATIONS) and set(REQUIRED_TASKS.values()) <= set(TASKS)


def test_names_of_failed_return_tests_are_recognised():
    source = (jobs.ROOT / RETURNS[0]).read_text()
    names = re.findall(r"^def (test_\w+)", source, re.MULTILINE)
    (task,) = [match[1] for name in names if (match := TASK.search(f"test_returns.py::{name}[ring]"))]
    assert task == "ring"
