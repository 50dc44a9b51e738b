"""A data set and the machines that work on it: what the tests of bulk translation have in common."""

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from my_lab.engine import Shouting
from my_lab.mortal import Mortal, Options
from olhar.translation import shards
from olhar.translation.engines import opened
from olhar.translation.pace import Patience
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.sharing import merge, share, translate_share
from olhar.translation.work import Outcome, translate_file
from olhar.translators import Segment

QUICK = Patience(attempts=2, failures=4, first_wait=0.001, longest_wait=0.002, seed=1)
SETTINGS = Settings("en", "pt", Policies(), patience=QUICK)
ENGINE = partial(opened, "my_lab.engine", {})
SMALL = 10  # segments of a shard, that there are several


def records(path: Path) -> Path:
    """Sixty conversations; a third share a question, every sixth holds a number that the engine may lose."""
    rows = [
        {
            "id": f"{number:06}",
            "image": f"{number}.jpg",
            "conversations": [
                {"from": "human", "value": f"<image>\n{_question(number)}"},
                {"from": "gpt", "value": f"There is a {_word(number)} on it. " + "Very big it is. " * (number % 3)},
            ],
        }
        for number in range(60)
    ]
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path


def _question(number: int) -> str:
    if number % 3 == 0:
        return "What is shown here?"
    return (
        f"How many ships of {_word(number)} carry {number} boxes?"
        if number % 6 == 1
        else f"Where is the {_word(number)}?"
    )


def _word(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:02}") + "ling"


def alone(records: Path, tmp_path: Path, engine: Shouting, settings: Settings = SETTINGS) -> bytes:
    """What one process writes."""
    translate_file(records, tmp_path / "single.json", engine, tmp_path / "single.db", settings)
    return (tmp_path / "single.json").read_bytes()


def asked(*engines: Shouting) -> Counter[Segment]:
    return Counter(segment for engine in engines for call in engine.calls for segment in call)


def of_share(
    records: Path, tmp_path: Path, part: str, engine: Shouting | None = None, settings: Settings = SETTINGS
) -> tuple[Shouting, Outcome]:
    """One machine's run: the folder is shared, the cache its own."""
    engine = engine or Shouting()
    cache = tmp_path / f"machine-{part.replace('/', '-')}.db"
    return engine, translate_share(records, tmp_path / "pt.json", engine, cache, settings, share(part))


def merged(records: Path, tmp_path: Path, engine: Shouting, settings: Settings = SETTINGS) -> bytes:
    merge(tmp_path / "pt.json.shards", records, tmp_path / "pt.json", engine, tmp_path / "merged.db", settings)
    return (tmp_path / "pt.json").read_bytes()


def logged(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":  # records, folder, options: a machine that can be killed
    shards.SEGMENTS = SMALL
    of_share(Path(sys.argv[1]), Path(sys.argv[2]), "1/1", Mortal(Options(**json.loads(sys.argv[3]))))
