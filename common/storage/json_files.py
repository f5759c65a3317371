"""Reads the JSON object in a file of settings."""

import json
from os import PathLike
from typing import Any

from common.errors import UserError
from common.formatting import safe_repr
from common.storage.text_files import decode_text

MAX_JSON_BYTES = 1 << 20  # a run's config.json has about 5,000


def read_json(path: str | PathLike[str], source: object = None) -> dict[str, Any]:
    """Return the JSON object in a file of settings.

    Args:
        path: the file.
        source: what an error calls the file; `path` if None.

    Raises:
        UserError: if it cannot be read, is larger than `MAX_JSON_BYTES` or does not contain an object.
    """
    source = source or path
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES:,} bytes")
        content = json.loads(decode_text(data))
    except RecursionError as error:
        raise UserError(f"cannot read {source}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{source} must contain a JSON object, not {safe_repr(content)}")
    return content
