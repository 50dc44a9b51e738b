"""JSON files that others wrote."""

from pathlib import Path
from typing import Any

from olhar.core.errors import UserError
from olhar.core.store import read_json


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ``UserError`` where it holds none."""
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(error.what, error.where, "download or copy the file again") from error
    if not isinstance(content, dict):
        raise UserError("this file holds no JSON object", str(path), "download or copy the file again")
    return content
