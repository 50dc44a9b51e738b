"""The verbs, in the order in which they are read::

    ingest -> translate -> check -> mix -> train -> evaluate -> publish

A stage reads the folders of the stages it ``NEEDS`` and writes one folder; no stage calls another. Each module holds

``NEEDS``              names of the stages whose folders it reads;
``READS``              names of stages whose folders it reads where the recipe has them (may be left out);
``config(recipe)``     the part of the recipe that decides its output (JSON), None when the recipe leaves it out;
``outside(recipe)``    files outside the run that it reads: name -> hash;
``run(context)``       does the work, continuing what an interrupted run left, and returns counts for the manifest.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olhar.core.recipe import Recipe
from olhar.core.store import RunFolder

ORDER = ("ingest", "translate", "check", "mix", "train", "evaluate", "publish")


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage gets: the recipe, its run, its own folder, and how to tell a person what happens.

    ``track(iterable, label, total)`` shows a progress bar; ``say`` prints a line or a rich renderable;
    ``progress(what, done, total)`` tells how far some work is that is no iterable.
    """

    recipe: Recipe
    run: RunFolder
    folder: Path
    fingerprint: str
    track: Callable[..., Iterable[Any]]
    say: Callable[[Any], None]
    progress: Callable[[str, int, int | None], None] = lambda *_: None
