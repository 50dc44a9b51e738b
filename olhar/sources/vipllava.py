"""Conversations about marked regions, as ViP-LLaVA's data have them (Cai et al. 2024, arXiv:2312.00784, section 4).

Records of LLaVA's shape (``olhar.sources.llava``) with ``bboxes`` (left, top, right, bottom in pixels) and perhaps
``segmentations`` (polygons, or null, for each box). ``kind`` says whose rules hold: which shapes, how drawn (``KINDS``
in ``_region_marks``); where it is missing, upstream's files say it before the first ``-`` of the ``id``. Every object
becomes marks on the record's image, drawn whenever the picture is read and never written; ``<bbox>`` and ``<bbox0>``
in the text become words for the mark in the data set's language. Records of VCR, Visual7W, PointQA and Flickr30k
that hold what a conversation is made of instead of one get upstream's (``_region_questions``). Shape, colour and size
are drawn from the seed and the record's id, so a run repeats. Other records without boxes are LLaVA's, as stages of
training mix them.

What fails is a ``Finding`` of its row, never another sample in its place.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Annotated, Any, cast

from pydantic import Field, field_validator

from olhar.core import pictures
from olhar.core.errors import UserError
from olhar.core.marks import ANCHOR
from olhar.core.types import Finding, ImageRef, Role, Sample, Turn
from olhar.languages import Language, Pointing, language
from olhar.sources import Request, SourceOptions, _llava_records
from olhar.sources._llava_records import Ids, Records, Repeated, file_of, folders_of
from olhar.sources._llava_turns import TURN_LISTS, BadRow, Folders, turns_of
from olhar.sources._region_marks import KINDS, Marked, Thing, marked, things_of
from olhar.sources._region_questions import KEYS, boxes_of
from olhar.sources._region_questions import task as task_of

NAME = "vipllava"
NEEDS_PATH = True
ADVICE: Mapping[str, str] = {
    **_llava_records.ADVICE,
    "unknown kind": f"write kind into the record, or options = {{ kind = ... }}: {', '.join(KINDS)}",
    "unfit boxes": "write bboxes = [[left, top, right, bottom], ...] in pixels of the image",
    "unfit segmentations": "give one list of polygons [x, y, x, y, ...], or null, for each box",
    "unfit image for marks": "give the record one image: boxes say nothing of which image they are on",
    "unfit annotation": "correct the box or polygon: the numbers are pixels of the image as it lies on disk",
    "unfit choices": "give exactly 4 options, and the number of the right one, counted from 0",
    "unfit words": "write texts as lists of words and of lists of numbers of objects, as VCR does",
    "placeholder without a box": "add its box to bboxes, or take the placeholder out of the text",
}
SPEAKERS: tuple[Role, Role] = ("user", "assistant")
DRAWN = frozenset({"bboxes", "bbox", "segmentations", "kind"})
ANSWER = ("answer",)  # all that a kind without questions of its own holds where it holds no conversation
ASKED = frozenset(key for keys in (*KEYS.values(), ANSWER) for key in keys)
RELATED = 2  # objects that a relation is asked of
_PLACEHOLDER = re.compile(r"<bbox(\d*)>")
_LEFTOVER = re.compile(r"<\s*/?\s*bbox", re.IGNORECASE)


class Options(SourceOptions):
    """As those of ``llava``, and

    ``kind``: of every record with boxes that says none itself. ``anchor``: side of the model's input, in whose pixels
    line widths are drawn. ``seed``: default the recipe's.
    """

    images: str | None = None
    videos: str | None = None
    repeated_ids: Repeated = "reject"
    kind: str | None = None
    anchor: Annotated[int, Field(gt=0)] = ANCHOR
    seed: int = 0

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
        return kind


def read(request: Request) -> Iterator[Sample | Finding]:
    """Samples and findings in the file's order.

    Raises ``UserError`` when there is no such file or folder, the file is not a list of records, or the data set's
    language has no words for marks.
    """
    path, options = file_of(request.path, request.dataset, NAME), cast(Options, request.options)
    spoken = language(request.language)
    if spoken.pointing is None:
        what = f"the language {request.language!r} has no words for marks"
        raise UserError(what, f"dataset {request.dataset}", f"fill pointing in olhar/languages/{request.language}.py")
    folders = folders_of(options.images, options.videos, path)
    return Records(
        path,
        NAME,
        request.language,
        request.dataset,
        folders,
        Ids(options.repeated_ids),
        turns=partial(_turns, options=options, language=spoken),
        known=partial(_known, options=options),
    ).read()


def count(request: Request) -> int | None:
    """None: only reading the whole file would tell."""
    return None


def _known(record: Mapping[str, Any], options: Options) -> Collection[str]:
    """Keys of which nothing is lost: marks and turns hold what is drawn and asked of them."""
    return DRAWN if _is_told(record) else DRAWN.union(KEYS.get(_kind(record, options)[0], ANSWER))


def _is_told(record: Mapping[str, Any]) -> bool:
    """Whether a record holds a conversation; or else what one can be made of, or nothing at all."""
    return any(key in record for key in TURN_LISTS) or ASKED.isdisjoint(record)


def _turns(
    record: Mapping[str, Any], folders: Folders, meta: dict[str, Any], *, options: Options, language: Language
) -> tuple[Turn, ...]:
    """The record's turns, its objects marked on its image and named in its text. Raises ``BadRow``."""
    words = language.pointing
    assert words is not None
    if not _is_told(record):
        return _made(record, folders, meta, options, language, words)
    things = things_of(record)
    turns = turns_of(record, folders, meta)
    if things:
        kind, sub = _kind(record, options)
        meta["kind"] = kind
        image, turns = _one_image(turns, folders, record, meta)
        random = Random(f"{options.seed}|{record.get('id')}")
        found = _marked(things, kind, image, words, random, options.anchor)
        if sub != "gpt4v":
            turns = _asked(turns, kind, len(things), words, random)
        turns = tuple(_with_words(turn, found, image) for turn in turns)
    return _complete(turns, len(things))


def _complete(turns: tuple[Turn, ...], things: int) -> tuple[Turn, ...]:
    """The turns, if no placeholder is left in them; raises ``BadRow``."""
    for number, turn in enumerate(turns, start=1):
        if left := _LEFTOVER.search(turn.text):
            told = turn.text[left.start() : left.start() + 12]
            raise BadRow(f"placeholder without a box: {told!r} in turn {number}; boxes: {things}")
    return turns


def _made(
    record: Mapping[str, Any],
    folders: Folders,
    meta: dict[str, Any],
    options: Options,
    language: Language,
    words: Pointing,
) -> tuple[Turn, ...]:
    """The conversation of a record that holds only what it is to be made of. Raises ``BadRow``."""
    kind, _ = _kind(record, options)
    meta["kind"] = kind
    record, random = boxes_of(record, folders.image), Random(f"{options.seed}|{record.get('id')}")
    things, task = things_of(record), task_of(record, kind, language, words, random)
    if task is None:  # its record is an answer alone
        said = [{"from": "human", "value": ""}, {"from": "gpt", "value": record.get("answer")}]
        return _turns({**record, "conversations": said}, folders, meta, options=options, language=language)
    numbers = range(len(things)) if task.things is None else task.things
    if not things or any(number >= len(things) for number in numbers):
        raise BadRow(f"unfit boxes: the text speaks of objects {list(numbers)}, and there are {len(things)}")
    opening = {**record, "conversations": [{"from": "human", "value": ""}]}
    image, _ = _one_image(turns_of(opening, folders, meta), folders, record, meta)
    found = _marked([things[number] for number in numbers], kind, image, words, random, options.anchor)
    shown = replace(image, marks=tuple(mark for one in found for mark in one.marks))
    turns = [
        Turn(role, (text,))
        for exchange in task.write(dict(zip(numbers, found, strict=True)))
        for role, text in zip(SPEAKERS, exchange, strict=True)
    ]
    return _complete((Turn("user", (shown, *turns[0].parts)), *turns[1:]), len(things))


def _kind(record: Mapping[str, Any], options: Options) -> tuple[str, str]:
    """Whose rules hold, and upstream's second part of the id (``gpt4v``: its text is complete)."""
    name = record.get("id")
    first, _, rest = (name if isinstance(name, str) else "").partition("-")
    said = record.get("kind", options.kind)
    if said is None and first in KINDS:
        said = first
    if not isinstance(said, str) or said not in KINDS:
        raise BadRow(f"unknown kind: {said!r}; there are {', '.join(KINDS)}")
    return said, rest.partition("-")[0] if said == first else ""


def _one_image(
    turns: tuple[Turn, ...], folders: Folders, record: Mapping[str, Any], meta: dict[str, Any]
) -> tuple[ImageRef, tuple[Turn, ...]]:
    """The one image that boxes are on; upstream's records may leave its mark out, then it leads the first question."""
    media = [ref for turn in turns for ref in turn.media]
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), None)
    if not media and len(meta.get("unplaced", ())) == 1 and first is not None:
        media = [folders.ref("image", name) for name in _names(record)]
        del meta["unplaced"]
        leading = replace(turns[first], parts=(*media, *turns[first].parts))
        turns = (*turns[:first], leading, *turns[first + 1 :])
    if len(media) != 1 or not isinstance(media[0], ImageRef) or meta.get("unplaced"):
        raise BadRow(f"unfit image for marks: boxes are on one image, and the record has {len(media)} in its text")
    return media[0], turns


def _names(record: Mapping[str, Any]) -> Sequence[Any]:
    given = record.get("image", record.get("images"))
    return given if isinstance(given, list) else [given]


def _marked(
    things: Sequence[Thing], kind: str, image: ImageRef, words: Pointing, random: Random, anchor: int
) -> list[Marked]:
    try:
        return marked(things, KINDS[kind], words, pictures.size(image.path), random, anchor)
    except UserError as error:
        raise BadRow(f"unfit annotation: {error.what} ({error.where})") from error


def _asked(turns: tuple[Turn, ...], kind: str, things: int, words: Pointing, random: Random) -> tuple[Turn, ...]:
    """Where upstream's record holds an answer alone, the question that its data set asks."""
    questions = [number for number, turn in enumerate(turns) if turn.role == "user"]
    if len(questions) != 1 or turns[questions[0]].text.strip():
        return turns
    if kind == "refcocog" and things == 1:
        text = random.choice(words.region).format(place="<bbox0>")
    elif kind == "vg_rel" and things == RELATED:
        text = words.relation.format(first="<bbox0>", second="<bbox1>")
    else:
        raise BadRow(f"unfit turn: the question is empty, and there is none for {things} objects of kind {kind}")
    number = questions[0]
    asking = replace(turns[number], parts=(*turns[number].media, text))
    return (*turns[:number], asking, *turns[number + 1 :])


def _with_words(turn: Turn, found: Sequence[Marked], image: ImageRef) -> Turn:
    """The turn with all marks on its image and words where a placeholder names an object."""

    def word(placeholder: re.Match[str]) -> str:
        number = int(placeholder[1] or 0)
        return found[number].place if number < len(found) else placeholder[0]

    marks = tuple(mark for one in found for mark in one.marks)
    return replace(
        turn,
        parts=tuple(
            _PLACEHOLDER.sub(word, part) if isinstance(part, str) else replace(image, marks=marks)
            for part in turn.parts
        ),
    )
