"""A file of LLaVA-Instruct-150K's size through everything but an engine: memory, and time per turn along the way.

    python benchmarks/translation_scale.py [--turns 720000] [--record]
    python benchmarks/translation_scale.py --kills 20 --turns 1000 [--record]

Writes a synthetic file (720,000 turns, about 229 MB) into a temporary folder and translates it with an engine that
gives back what it gets. With ``--kills``, a slow engine instead, killed that often with SIGKILL at random moments.
Goals: at most 1 GB of memory; time per turn that does not grow; after kills the bytes of an undisturbed run, and no
segment asked for again beyond one batch a worker for each kill.
"""

import argparse
import itertools
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _results import record

from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import translate_file
from olhar.translators import identity

KILLED = Path(__file__).parent.parent / "tests" / "translation"  # the engine that is slow, and what kills it
BATCH, WORKERS = 16, 2

SUBJECTS = (
    "man",
    "woman",
    "child",
    "dog",
    "cat",
    "bus",
    "train",
    "bicycle",
    "table",
    "kitchen",
    "street",
    "sign",
    "boat",
    "plate",
    "horse",
    "player",
    "crowd",
)
ADJECTIVES = (
    "red",
    "small",
    "old",
    "wooden",
    "busy",
    "empty",
    "tall",
    "colorful",
    "young",
    "bright",
    "modern",
    "narrow",
    "large",
    "quiet",
    "striped",
)
VERBS = ("stands", "sits", "rests", "moves", "waits", "appears", "leans", "hangs", "plays", "looks")
PLACES = (
    "near a window",
    "on the left side",
    "in front of a building",
    "under the trees",
    "behind a fence",
    "by the road",
)
ENDS = (
    ", which adds to the scene",
    ", creating a calm mood",
    ", as others walk by",
    ", partly hidden from view",
    " in the photo",
    "",
)
QUESTIONS = (
    *("What is the {} doing?", "What color is the {}?", "Where is the {} located in the image?", "Is the {} moving?"),
    *("How many people are near the {}?", "What might the {} suggest about the scene?", "Describe the {} in detail."),
)


def sentence(draw: random.Random) -> str:
    """One of about 100 million sentences, of the length that answers have; some hold numbers or quotations."""
    pick = draw.choice
    text = f"The {pick(ADJECTIVES)} {pick(SUBJECTS)} {pick(VERBS)} {pick(PLACES)}{pick(ENDS)}"
    if draw.random() < 0.5:
        text += f" while a {pick(ADJECTIVES)} {pick(SUBJECTS)} {pick(VERBS)} {pick(PLACES)}"
    if draw.random() < 0.1:
        text += f" with {draw.randrange(2, 30)} others"
    if draw.random() < 0.03:
        text += f' beside the word "{pick(SUBJECTS).upper()}"'
    return text + "."


def conversations(turns: int) -> Iterator[dict[str, Any]]:
    """Records of 10 turns, 6 sentences an answer, as in LLaVA's conversations and descriptions."""
    draw = random.Random(0)
    for number in range(turns // 10):
        said = []
        for turn in range(5):
            mark = "<image>\n" if turn == 0 else ""
            said.append({"from": "human", "value": mark + draw.choice(QUESTIONS).format(draw.choice(SUBJECTS))})
            answer = " ".join(sentence(draw) for _ in range(draw.choice((3, 5, 7, 11))))
            said.append({"from": "gpt", "value": answer})
        name = f"{number:012}"
        yield {"id": name, "image": f"{name}.jpg", "conversations": said}


def write(path: Path, turns: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("[")
        for number, record in enumerate(conversations(turns)):
            file.write((",\n" if number else "\n") + json.dumps(record))
        file.write("\n]\n")


def run(given: Path, output: Path, turns: int, told: "multiprocessing.Queue[dict[str, Any]]") -> None:
    """Translate in this process and tell memory, seconds, and microseconds per turn in each tenth of each pass."""
    moments: dict[str, list[tuple[int, float]]] = {}

    def progress(what: str, done: int, total: int | None) -> None:
        moments.setdefault(what, [(0, began if not moments else time.monotonic())]).append((done, time.monotonic()))

    began = time.monotonic()
    engine = identity.open(identity.Options(), "en", "pt")
    outcome = translate_file(
        given, output, engine, output.with_name("cache.db"), Settings("en", "pt", Policies()), progress
    )
    told.put(
        {
            "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "seconds": round(time.monotonic() - began, 1),
            "counts": {name: count for name, count in outcome.counts.items() if count},
            "microseconds_per_turn_by_tenth": {what: tenths(along, turns) for what, along in moments.items()},
            "database_megabytes": round(output.with_name("cache.db").stat().st_size / 2**20),
        }
    )


def tenths(along: list[tuple[int, float]], turns: int) -> list[float]:
    """Microseconds per turn of the file in each tenth of one pass."""
    whole = along[-1][0]
    edges = [next(moment for done, moment in along if done >= whole * tenth / 10) for tenth in range(11)]
    return [round(1e6 * (later - earlier) / (turns / 10), 1) for earlier, later in itertools.pairwise(edges)]


def measured(folder: Path, turns: int) -> dict[str, Any]:
    given = folder / "in.json"
    write(given, turns)
    told: multiprocessing.Queue[dict[str, Any]] = multiprocessing.get_context("spawn").Queue()
    results = {}
    for name, output in (("first", folder / "out.json"), ("second, all cached", folder / "again.json")):
        arguments = (given, output, turns, told)
        process = multiprocessing.get_context("spawn").Process(target=run, args=arguments)
        process.start()
        results[name] = told.get()
        process.join()
    same = (folder / "out.json").read_bytes() == given.read_bytes() == (folder / "again.json").read_bytes()
    return {"file_megabytes": round(given.stat().st_size / 1e6, 1), "bytes_equal": same, **results}


def with_kills(folder: Path, turns: int, kills: int, seed: int) -> dict[str, Any]:
    sys.path.insert(0, str(KILLED))
    import killed

    given = folder / "in.json"
    write(given, turns)
    (folder / "whole").mkdir()
    (folder / "killed").mkdir()
    whole, output, log = folder / "whole" / "out.json", folder / "killed" / "out.json", folder / "killed" / "log"
    killed.started(given, whole, whole.with_name("log"), 0.0, BATCH, WORKERS).wait()
    once = killed.asked(whole.with_name("log"))
    pause = 0.05
    seconds = len(once) / BATCH / WORKERS * pause  # undisturbed
    moments = killed.moments(kills, 1.6 * seconds / kills, seed)
    hit = killed.killed_then_finished(given, output, log, pause, BATCH, WORKERS, moments)
    often = killed.asked(log)
    return {
        "kills": hit,
        "bytes_equal": whole.read_bytes() == output.read_bytes(),
        "segments": len(once),
        "asked_again": sum(often.values()) - len(often),
        "allowed_again": hit * BATCH * WORKERS,
        "most_for_one_segment": max(often.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=720_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="append to results/translation_scale.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kills:
            found = with_kills(Path(folder), arguments.turns, arguments.kills, arguments.seed)
        else:
            found = measured(Path(folder), arguments.turns)
    result = {"turns": arguments.turns, **found}
    if arguments.record:
        record(__file__, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
