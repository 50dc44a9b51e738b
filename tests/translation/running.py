"""A small file, and one translation of a file with all that lies beside it."""

import json
from pathlib import Path
from typing import Any

from my_lab.engine import Shouting

from olhar.translation.pace import Patience
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import Outcome, translate_file

QUICK = Patience(attempts=2, failures=20, first_wait=0.001, longest_wait=0.001, seed=0)

RECORDS: list[dict[str, Any]] = [
    {
        "id": "000000148540",
        "image": "coco/000000148540.jpg",
        "weight": 0.5,
        "conversations": [
            {"from": "human", "value": "<image>\nHow many trains are there?"},
            {"from": "gpt", "value": "There are 2 trains. One of them is red.\n\nIt stands still."},
        ],
        "extra": {"b": [1, None, True], "a": "not for translation"},
    },
    {
        "id": 148540,
        "image": "coco/000000148540.jpg",
        "conversations": [
            {"from": "human", "value": "What does the sign say?\n<image>"},
            {"from": "gpt", "value": 'It says "STOP" and then "GO" in big letters.'},
        ],
    },
]


def put(path: Path, records: Any) -> Path:
    path.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


class Run:
    """One translated file, and all that lies beside it."""

    def __init__(self, folder: Path, engine: Shouting, given: Path, output: str = "out.json", **settings: Any) -> None:
        told: dict[str, Any] = {"source": "en", "target": "pt", "policies": Policies(), "patience": QUICK} | settings
        self.path = folder / output
        self.outcome: Outcome = translate_file(given, self.path, engine, folder / "cache.db", Settings(**told))

    @property
    def records(self) -> Any:
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def flags(self) -> list[dict[str, Any]]:
        text = self.path.with_name(self.path.name + ".flagged.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def manifest(self) -> Any:
        return json.loads(self.path.with_name(self.path.name + ".manifest.json").read_text(encoding="utf-8"))

    def turn(self, record: int, turn: int) -> str:
        return str(self.records[record]["conversations"][turn]["value"])
