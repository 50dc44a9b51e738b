"""The embedded world: endless seeded 64x64 scenes of pictograms, and questions about them in any language.

Nothing is downloaded and nothing is read from the outside: drawings, names and lettering lie in ``data/``. One
``Sample`` is one question; the questions of a scene share its pictures, which are written under the request's
``media`` folder. The same options give the same bytes on every machine, and a scene depends on nothing but the
split, the seed and its number.

A sample's ``meta``: ``skill``, ``split``, ``kind`` of scene, number of the ``scene``, ``objects`` (for each
picture a list of [label, x0, y0, x1, y1, marked] in pixels; labels are ``noun:<code point>``,
``shape:<shape>-<colour>``, ``letter:<character>``), ``pictured`` (how many things the scene shows) and ``nouns``
(the code points, sorted).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count as from_zero
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, model_validator

from olhar.core.errors import DiskError
from olhar.core.types import Finding, ImageRef, Sample, Turn, VideoRef
from olhar.languages import language
from olhar.sources import Request, SourceOptions
from olhar.sources.world import drawing, nouns, scenes, splits
from olhar.sources.world.questions import ASKS, SKILLS, Question, Skill, ask
from olhar.sources.world.scenes import Kind, Pictogram, Scene, Stock
from olhar.sources.world.wording import Wording

NAME = "world"
NEEDS_SCENES = True  # only languages with words for scenes
LICENCE = "Apache-2.0 and OFL-1.1, CC-BY-4.0, MIT, Unicode-3.0"
ATTRIBUTION = (
    "Pictograms: Noto Color Emoji by Google (images Apache-2.0, font OFL-1.1); Twemoji by Twitter, Inc and other "
    "contributors (CC-BY-4.0, reduced to 48 pixels and 256 colours); Fluent Emoji by Microsoft (MIT). Names: Unicode "
    "CLDR (Unicode-3.0), corrected by hand. Lettering: a subset of DejaVu Sans Bold."
)
KINDS: Mapping[Kind, float] = {"obj": 5, "shape": 1, "word": 2, "prompt": 2, "pair": 2, "video": 1}
SCENES_PER_FOLDER = 1000


class Options(SourceOptions):
    """Which scenes, and what is asked of them.

    ``split``: ``train``; ``composition`` (every scene of several nouns has a pair that training never shows,
    every word is new); ``style`` (the scenes of ``composition`` in a drawing style that training never shows);
    ``iid`` (no restriction, other scenes). Exactly one of ``scenes`` (how many) and ``per_skill`` (as many as it
    takes for so many questions of every skill, and no more of any). ``nouns`` is how many different things
    there are; ``kinds`` weighs the kinds of scene (``one``: a single thing); ``questions`` is the most that is
    asked of one scene.
    """

    seed: int = 0
    split: splits.Split = "train"
    scenes: Annotated[int, Field(ge=1)] | None = None
    per_skill: Annotated[int, Field(ge=1)] | None = None
    nouns: Annotated[int, Field(ge=20)] = 100
    skills: tuple[Skill, ...] = SKILLS
    kinds: Mapping[Kind, Annotated[float, Field(gt=0)]] = Field(default=KINDS)
    questions: Annotated[int, Field(ge=1)] = 6

    @model_validator(mode="after")
    def _fit_together(self) -> "Options":
        if (self.scenes is None) == (self.per_skill is None):
            raise ValueError("give either scenes or per_skill")
        if not self.asked:
            raise ValueError("no kind of scene that is drawn has any of the skills")
        missing = set(self.skills) - self.asked
        if missing and "skills" in self.model_fields_set:
            raise ValueError(f"no kind of scene that is drawn has the skills {', '.join(sorted(missing))}")
        return self

    @property
    def asked(self) -> frozenset[Skill]:
        """The skills that the kinds of scene allow."""
        return frozenset(self.skills) & frozenset().union(*(ASKS[kind] for kind in self.kinds))


def read(request: Request) -> Iterator[Sample | Finding]:
    """The questions, scene by scene; pictures are written before the first question that shows them.

    Raises ``UserError`` for a language without words for the world or more nouns than there are, and
    ``DiskError`` where pictures cannot be written.
    """
    return World(cast(Options, request.options), request.language).samples(request.dataset, request.media)


def count(request: Request) -> int | None:
    """Known only when questions are counted, not scenes."""
    options = cast(Options, request.options)
    return None if options.per_skill is None else options.per_skill * len(options.asked)


class World:
    """Scenes by number, and their questions in one language."""

    def __init__(self, options: Options, code: str) -> None:
        self.options, self.language = options, code
        self.wording = Wording(language(code))
        words = self.wording.scenes
        self.stock = Stock(options.split, nouns.subset(options.nouns), words.syllables, words.never_spell)
        weights = {kind: weight for kind, weight in options.kinds.items() if ASKS[kind] & options.asked}
        self._kinds, self._weights = list(weights), list(weights.values())

    def scene(self, number: int) -> tuple[Scene, list[Question]]:
        """What a scene shows and what is asked of it: at least one question."""
        shows, asks = splits.streams(self.options.split, self.options.seed, number)
        for _ in range(scenes.DRAWS):
            kind = shows.choices(self._kinds, self._weights)[0]
            scene = scenes.draw(kind, self.stock, shows)
            questions = ask(scene, self.stock.nouns, self.options.asked, asks)
            if questions:
                return scene, questions[: self.options.questions]
        raise RuntimeError(f"{scenes.DRAWS} scenes without a question of the skills {sorted(self.options.asked)}")

    def samples(self, dataset: str, media: Path) -> Iterator[Sample]:
        """The world's questions in order, their pictures written under ``media``."""
        album = _Album(media, f"{self.options.split}-{self.options.seed}", splits.styles(self.options.split))
        for number, scene, questions in self._scenes():
            parts = album.add(number, scene)
            meta = self._meta(number, scene)
            for which, question in questions:
                yield Sample(
                    f"{self.options.split}-{self.options.seed}-{number:06d}-{which}",
                    self.language,
                    (
                        Turn("user", (*parts, self.wording.question(question))),
                        Turn("assistant", (self.wording.answer(question),)),
                    ),
                    dataset,
                    meta={"skill": question.skill, **meta},
                )

    def _scenes(self) -> Iterator[tuple[int, Scene, list[tuple[int, Question]]]]:
        """Scenes with the numbered questions that are kept of them, until there are enough."""
        if self.options.scenes is not None:
            for number in range(self.options.scenes):
                scene, questions = self.scene(number)
                yield number, scene, list(enumerate(questions))
            return
        assert self.options.per_skill is not None
        left: Counter[str] = Counter(dict.fromkeys(self.options.asked, self.options.per_skill))
        for number in from_zero():
            scene, questions = self.scene(number)
            kept = []
            for which, question in enumerate(questions):
                if left[question.skill]:
                    left[question.skill] -= 1
                    kept.append((which, question))
            if kept:
                yield number, scene, kept
            if not any(left.values()):
                return

    def _meta(self, number: int, scene: Scene) -> dict[str, Any]:
        shown = {thing.what.noun.cp for thing in scene.things if isinstance(thing.what, Pictogram)}
        return {
            "split": self.options.split,
            "kind": scene.kind,
            "scene": number,
            "objects": [[[t.label, *t.box, int(t.marked)] for t in picture.things] for picture in scene.pictures],
            "pictured": len(scene.things),
            "nouns": sorted(shown),
        }


class _Album:
    """Where the pictures of scenes are written; a second run writes the same bytes to the same places."""

    def __init__(self, media: Path, name: str, styles: tuple[str, ...]) -> None:
        self._folder, self._styles = media / name, styles
        self._made: set[Path] = set()

    def add(self, number: int, scene: Scene) -> tuple[ImageRef | VideoRef, ...]:
        """Writes the pictures of a scene. Raises ``DiskError``."""
        folder = self._folder / f"{number // SCENES_PER_FOLDER:04d}"
        if scene.kind == "video":
            folder = folder / f"{number:06d}-video"
            paths = [folder / f"{frame}.png" for frame in range(len(scene.pictures))]
        else:
            paths = [folder / f"{number:06d}-{image}.png" for image in range(len(scene.pictures))]
        try:
            if folder not in self._made:
                folder.mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            for path, picture in zip(paths, scene.pictures, strict=True):
                drawing.draw(picture, self._styles).save(path, compress_level=1)
        except OSError as error:
            raise DiskError(
                f"cannot write a picture: {error.strerror}", str(folder), "free some space or choose another folder"
            ) from error
        return (VideoRef(str(folder)),) if scene.kind == "video" else tuple(ImageRef(str(path)) for path in paths)
