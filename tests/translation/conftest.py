import json
import random
import sys
from pathlib import Path

import pytest

from olhar.translation.pace import Pace, Patience

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # where the engine outside olhar is found

CONVERSATIONS = HERE.parent / "golden" / "conversations"


class Clock:
    """A clock on which sleeping takes no time. ``slept``: how long each sleep was."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    def pace(self, patience: Patience, calls_per_minute: float | None = None) -> Pace:
        return Pace(calls_per_minute, patience, self.now, self.sleep)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def conversations() -> Path:
    return CONVERSATIONS


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A file of 100 conversations, about 340 sentences, some of which come again."""
    draw = random.Random(5)
    things = ["dog", "bicycle", "old lady", "train at the station", "plate of fruit", "man with a hat"]
    places = ["in the street", "near a window", "under the tall tree by the river", "on the left", "behind 2 cars"]

    def sentence() -> str:
        count = draw.randint(1, 3)
        return " ".join([f"The {draw.choice(things)} is {draw.choice(places)}", *draw.choices(places, k=count)]) + "."

    records = [
        {
            "id": f"{number:012}",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhere is the {draw.choice(things)}?"},
                {"from": "gpt", "value": " ".join(sentence() for _ in range(4))},
            ],
        }
        for number in range(100)
    ]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A data set for several machines."""
    from my_lab import machines

    return machines.records(tmp_path / "en.json")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of few segments, so that there are several."""
    from my_lab import machines

    from olhar.translation import shards

    monkeypatch.setattr(shards, "SEGMENTS", machines.SMALL)


@pytest.fixture
def single(records: Path, tmp_path: Path) -> bytes:
    """What one process makes of ``records``."""
    from my_lab.engine import Shouting
    from my_lab.machines import alone

    return alone(records, tmp_path, Shouting())
