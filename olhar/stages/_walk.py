"""Walking the stages: skip what is finished, continue what was interrupted, refuse what does not fit."""

import shutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from olhar import __version__
from olhar.core.choices import choose
from olhar.core.environment import beside_the_first
from olhar.core.errors import StageError
from olhar.core.recipe import Recipe
from olhar.core.store import RunFolder, StageFolder, Stopwatch, digest
from olhar.core.types import Manifest
from olhar.stages import ORDER, Context

FORMAT = 1  # of stage folders; raised when an older folder must not be continued
TRAIN = "train"
ENERGY = ("energy_kwh", "co2_g")


def wanted(recipe: Recipe) -> list[str]:
    """The stages this recipe has something to say about, in order."""
    return [name for name in ORDER if choose("stages", name).config(recipe) is not None]


def walk(
    recipe: Recipe,
    run: RunFolder,
    track: Callable[..., Iterable[Any]],
    say: Callable[[Any], None],
    stages: Iterable[str] | None = None,
    redo: str | None = None,
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
) -> None:
    """Bring the named stages (default: all of the recipe's) and what they need to their end.

    Of several processes that torchrun started, the first one walks; the others come to train with it.
    """
    names = _with_needs(recipe, stages)
    if beside_the_first():
        _join(recipe, run, names, redo)
        return
    with run.locked():
        if redo:
            discard(run, redo)
        for name in names:
            _one(recipe, run, choose("stages", name), name, track, say, progress)


def _join(recipe: Recipe, run: RunFolder, names: Iterable[str], redo: str | None) -> None:
    """Train beside the first process, which comes to it when all stages before are finished."""
    folder = run.stage(TRAIN)
    again = redo is not None and redo in ORDER[: ORDER.index(TRAIN) + 1]
    if TRAIN in names and (again or folder.manifest() is None):
        choose("stages", TRAIN).run(Context(recipe, run, folder.path, "", lambda items, *_: items, lambda _: None))


def _with_needs(recipe: Recipe, stages: Iterable[str] | None) -> list[str]:
    have = wanted(recipe)
    needed: set[str] = set()
    todo = list(stages) if stages is not None else have
    for name in todo:
        if name not in have:
            raise StageError(f"the recipe says nothing about {name}", recipe.name, f"add a [{name}] part to the recipe")
        needed.add(name)
        todo += [need for need in _needs(recipe, choose("stages", name)) if need not in todo]
    return [name for name in have if name in needed]


def _needs(recipe: Recipe, stage: ModuleType) -> list[str]:
    """The stages whose folders a stage reads for this recipe."""
    have = wanted(recipe)
    return [*stage.NEEDS, *(name for name in getattr(stage, "READS", ()) if name in have)]


def discard(run: RunFolder, first: str) -> None:
    """Delete a stage's folder and those of all later stages, manifests first so that none looks finished."""
    if first not in ORDER:
        raise StageError(f"there is no stage {first!r}", "--redo", f"name one of {', '.join(ORDER)}")
    for name in reversed(ORDER[ORDER.index(first) :]):
        folder = run.path / name
        if folder.exists():
            (folder / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(folder)


def _one(
    recipe: Recipe,
    run: RunFolder,
    stage: ModuleType,
    name: str,
    track: Callable[..., Iterable[Any]],
    say: Callable[[Any], None],
    progress: Callable[[str, int, int | None], None],
) -> None:
    folder = run.stage(name)
    config = stage.config(recipe)
    inputs = stage.outside(recipe) | {need: _digest_of(run.stage(need)) for need in _needs(recipe, stage)}
    fingerprint = digest({"config": config, "inputs": inputs, "format": FORMAT})
    finished = folder.manifest()
    if finished and finished.fingerprint == fingerprint:
        say(f"[green]✓[/] {name}: finished before, nothing to do")
        return
    if finished:
        raise folder.differs(finished.config, finished.inputs, config, inputs)
    continues = folder.begin(fingerprint, config, inputs)
    say(f"[bold]→ {name}[/]" + (" (continues an interrupted run)" if continues else ""))
    watch = Stopwatch()
    counts = stage.run(Context(recipe, run, folder.path, fingerprint, track, say, progress))
    spent = {key: counts.pop(key, None) for key in ENERGY}
    outputs = folder.outputs()
    folder.finish(
        Manifest(name, fingerprint, config, inputs, outputs, counts, watch.seconds, **spent, version=__version__)
    )
    say(f"[green]✓[/] {name}: {watch.seconds:.1f} s")


def _digest_of(stage: StageFolder) -> str:
    finished = stage.manifest()
    if finished is None:
        raise StageError(f"{stage.name} is not finished", str(stage.path), f"run `olhar {stage.name} RECIPE` first")
    return digest(finished.outputs)
