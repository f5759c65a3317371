"""Checks of values accept what is valid and name value and limit of what is not."""

import math

import numpy as np
import pytest

from common.errors import UserError
from common.validation import (
    INT64_MAX,
    check_bool,
    check_choice,
    check_divisible,
    check_float,
    check_greater,
    check_int,
    check_int_argument,
    check_number,
    error_prefix,
)


@pytest.mark.parametrize(
    "check, arguments, message",
    [
        (check_int, (0, 1), "must be at least 1"),
        (check_int, (7, 1, 5), "must be between 1 and 5"),
        (check_int, (7, -INT64_MAX, 5), "must be at most 5"),
        (check_int, (2.5, 1), "must be an integer of at least 1"),
        (check_int, (3.0,), "must be an integer of at least 0"),
        (check_int, (True,), "must be an integer of at least 0"),
        (check_int, ("x", -INT64_MAX), "must be an integer"),
        (check_int, (2**63,), "must be between 0 and 9,223,372,036,854,775,807"),
        (check_int_argument, (math.inf,), "must be an integer of at least 0"),
        (check_float, (2, 0, 1), "must be between 0 and 1"),
        (check_float, (-1.0, 0), "must be at least 0"),
        (check_float, (2.0, -math.inf, 1), "must be at most 1"),
        (check_float, (math.nan, 0, 1), "must be between 0 and 1"),
        (check_float, ("2", 0, 1), "must be a number between 0 and 1"),
        (check_float, (False,), "must be a number"),
        (check_float, (10**400,), "must be a number"),
        (check_greater, (0, 0), "must be greater than 0"),
        (check_bool, (1,), "must be true or false"),
        (check_choice, ("c", ["a", "b"]), "must be one of a, b"),
        (check_divisible, (100, 64), "must be a multiple of 64, to divide evenly among 64 environments"),
    ],
)
def test_an_invalid_value_is_refused_with_its_limits(check, arguments, message):
    with pytest.raises(UserError) as error:
        check("x", *arguments)
    assert str(error.value).startswith("invalid x=")
    assert str(error.value).endswith(f": {message}")


def test_valid_values_are_returned_as_pythons_own():
    assert type(check_int("x", np.int64(3))) is int
    assert type(check_int_argument("x", 1e6)) is int
    assert type(check_float("x", 3)) is float
    assert type(check_number("x", 3)) is int
    assert check_float("x", math.inf) == math.inf
    assert check_bool("x", np.bool_(True)) is True
    assert check_choice("x", "a", ["a"]) == "a"


def test_a_source_is_put_before_a_message_that_does_not_name_it():
    for message, expected in (("invalid x", "file: invalid x"), ("file is damaged", "file is damaged")):
        with pytest.raises(UserError, match=f"^{expected}$"), error_prefix("file"):
            raise UserError(message)
