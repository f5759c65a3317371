"""Text of the command line, and values of JSON files, converted to the values of settings."""

import json
from collections.abc import Callable
from typing import Any

from baselines_ppo.config.registry import Setting
from common.errors import UserError
from common.formatting import safe_repr
from common.storage.paths import user_path

MAX_INT = 2**63
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def int_arg(text: str) -> int:
    """Return an integer of up to 63 bits, also from text such as 1e6.

    Raises:
        ValueError, OverflowError: if the text is not such an integer.
    """
    try:
        value: float = int(text)
    except ValueError:
        value = float(text)
    if value != int(value) or abs(value) >= MAX_INT:
        raise ValueError(text)
    return int(value)


def bool_arg(text: str) -> bool:
    """Return the bool of "true" or "false", in any case; KeyError for other text."""
    return BOOLEANS[text.lower()]


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object; ValueError for other text."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def int_list(text: str) -> list[int]:
    """Return the integers of text such as "256 128", "256,128" or "[256, 128]"; ValueError for other text."""
    return [int_arg(word) for word in text.strip("[] ").replace(",", " ").split()]


# type -> (function that converts text, what the text must be)
CONVERTERS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int_arg, "an integer"),
    float: (float, "a number"),
    bool: (bool_arg, "true or false"),
    dict: (json_object, "a JSON object, such as '{\"healthy_reward\": 0.5}'"),
    list: (int_list, "integers, such as 256 128"),
    str: (str, "text"),
}


def convert(text: str, value_type: type) -> Any:
    """Return the value of a type that text stands for.

    Raises:
        UserError: if the text is not of that type.
    """
    function, wanted = CONVERTERS[value_type]
    try:
        return function(text)
    except (ValueError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"invalid {safe_repr(text)}: must be {wanted}") from error


def convert_setting(setting: Setting, text: str) -> Any:
    """Return the value of a setting that text stands for; its range and choices are checked elsewhere.

    Raises:
        UserError: if the text is not of the setting's type.
    """
    if setting.info.is_path:
        return convert_path(text)
    if setting.optional and setting.type is not str and text.lower() == "none":  # a name may be "none"
        return None
    return convert(text, setting.type)


def convert_path(text: str) -> str:
    """Return a path, with `~` replaced by the home directory.

    Raises:
        UserError: if it cannot be a path.
    """
    try:
        return str(user_path(text))
    except UserError as error:
        raise UserError(str(error).replace("path=", "", 1)) from error
