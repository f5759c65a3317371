"""Errors collect their context while they pass through the callers, and print it in one line."""

import pickle

from common.errors import EnvError, NonFiniteError


def test_an_env_error_is_one_line_with_everything_its_callers_know():
    error = EnvError("returned\nthe reward None", "return a float", environment=1)
    error.offset_environment(4).add_context(position="at step 3 of the segment", env_id="A-v0")
    error.add_context(iteration=7, position="later", environment=0)
    assert str(error) == (
        "environment 5 (A-v0) returned the reward None, at step 3 of the segment of iteration 7; return a float"
    )
    assert error.describe("fix it").endswith(" of iteration 7; fix it")
    error.add_context(source="the environment")
    assert str(error).startswith("the environment (A-v0) returned")


def test_an_env_error_survives_the_way_from_a_worker_process():
    error = EnvError("raised ValueError", "fix it", trace="Traceback", environment=2)
    received = pickle.loads(pickle.dumps(error))
    assert str(received) == str(error)
    assert received.trace == "Traceback"


def test_a_nonfinite_error_is_one_line_with_its_cause_and_its_file():
    error = NonFiniteError("loss is nan", "take a smaller step size", "where a value target is inf")
    error.add_context(iteration=3).add_context(iteration=4, dump_path="post-mortem: FILE")
    assert str(error) == (
        "loss is nan of iteration 3, where a value target is inf; take a smaller step size; post-mortem: FILE"
    )
