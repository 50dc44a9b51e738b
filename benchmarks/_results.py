"""What a benchmark found, kept: a JSON line with the machine in results/, in a file named like the script."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def record(script: str, found: Mapping[str, Any]) -> None:
    """Append what ``script`` (its ``__file__``) found."""
    from olhar.core.environment import facts  # only now: a peer's Python, which some scripts run in, has no olhar

    path = Path(__file__).with_name("results") / f"{Path(script).stem}.jsonl"
    path.parent.mkdir(exist_ok=True)
    with open(path, "a", encoding="utf-8") as lines:
        lines.write(json.dumps({**found, "machine": facts()}, ensure_ascii=False) + "\n")
