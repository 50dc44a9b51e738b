"""What ViP-LLaVA's data sets ask where their records hold no conversation: made from words and numbers of objects.

A text of VCR is a list of words and of lists of numbers, ``["Why", "is", [0, 2], "here", "?"]``; the numbers become
phrases for marked objects. Rules of Cai et al. 2024, arXiv:2312.00784, per kind of data set; all words are the
language's, all chance comes from the ``Random`` given. What is asked is chosen first, since only the objects that it
speaks of are marked; it is written when their marks are known.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.languages import Language, Pointing
from olhar.sources._llava_turns import BadRow
from olhar.sources._region_marks import Marked

OPTIONS = 4
CLOSING = frozenset(".,?!:;")  # words that stand without a blank before them
UPSTREAM = "./dataset/"  # with which VCR's records name files of the folder of images
_BOX = re.compile(r" ?<bbox(\d+)>")
_COMMA = re.compile(r"\s*,(?:\s+|(?!\d))")

Text = str | Sequence[Any]
Exchanges = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Speaker:
    """How objects are spoken of. names: of their classes. plainly: never without the name that there is."""

    language: Language
    words: Pointing
    random: Random
    names: Sequence[str] | None = None
    plainly: bool = True

    def say(self, text: Text, found: Mapping[int, Marked]) -> str:
        """The text with phrases for its objects. Raises ``BadRow`` for one whose class is not named."""
        if isinstance(text, str):
            return text
        said = ""
        for word in text:
            spoken = word if isinstance(word, str) else self.together([self.thing(number, found) for number in word])
            said += spoken if not said or spoken in CLOSING else f" {spoken}"
        return said if not text or isinstance(text[0], str) else said[:1].upper() + said[1:]

    def thing(self, number: int, found: Mapping[int, Marked]) -> str:
        place = self.random.choice(found[number].places)
        if self.names is None or (not self.plainly and self.random.random() < 0.5):
            form = self.words.unnamed[0] if self.plainly else self.random.choice(self.words.unnamed)
            return form.format(place=place)
        if number >= len(self.names):
            raise BadRow(f"unfit words: class_names has {len(self.names)} names, and object {number} is spoken of")
        return self.words.named.format(name=self.names[number], place=place)

    def together(self, phrases: Sequence[str]) -> str:
        """``a, b and c`` would hide whose place is whose: each is joined to the next."""
        said = phrases[0]
        for phrase in phrases[1:]:
            said = self.words.joined.format(first=said, second=phrase)
        return said

    def choice(self, question: str, options: Sequence[str]) -> str:
        """A question of multiple choice."""
        lines = [f"{letter}. {option}" for letter, option in zip(self.language.options, options, strict=False)]
        return "\n".join([*([question] if question else []), *lines, self.instruction("option_letter")])

    def instruction(self, name: str) -> str:
        spoken = self.language.translation
        return f"{spoken.instructions[name][0]}{spoken.stop}"


@dataclass(frozen=True, slots=True)
class Task:
    """What one record asks. things: numbers of the objects to mark, in order; None: all."""

    things: tuple[int, ...] | None
    write: Callable[[Mapping[int, Marked]], Exchanges]


def task(record: Mapping[str, Any], kind: str, language: Language, words: Pointing, random: Random) -> Task | None:
    """What a record without a conversation asks; None for a kind that asks nothing of its own. Raises ``BadRow``."""
    made = TASKS.get(kind)
    return made(record, Speaker(language, words, random)) if made else None


def _reasons(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """VCR as it is learned from: a question, then why; each with its options in half of the cases."""
    speaker = _naming(record, speaker, plainly=False)
    question, asked = _text(record, "question"), [_Choice.of(record, "answer")]
    if "rationale_choices" in record:
        asked.append(_Choice.of(record, "rationale"))
    asked = [one if speaker.random.random() < 0.5 else one.answered() for one in asked]

    def write(found: Mapping[int, Marked]) -> Exchanges:
        questions = [speaker.say(question, found), speaker.random.choice(speaker.words.why)]
        return [one.exchange(text, speaker, found) for text, one in zip(questions, asked, strict=False)]

    return Task(_numbers(question, *(text for one in asked for text in one.options)), write)


def _answer(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """VCR as it is tested: the question with its options."""
    speaker, question, one = _naming(record, speaker), _text(record, "question"), _Choice.of(record, "answer")
    return Task(
        _numbers(question, *one.options), lambda found: [one.exchange(speaker.say(question, found), speaker, found)]
    )


def _rationale(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """The other test of VCR: question and answer are given, the reason is asked for."""
    speaker, question = _naming(record, speaker), _text(record, "question")
    answer, one = _Choice.of(record, "answer").answered().options[0], _Choice.of(record, "rationale")

    def write(found: Mapping[int, Marked]) -> Exchanges:
        said = {"question": speaker.say(question, found), "answer": speaker.say(answer, found)}
        return [one.exchange(speaker.words.rationale.format(**said), speaker, found)]

    return Task(_numbers(question, answer, *one.options), write)


def _which(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """Visual7W: which of four objects answers the question; ``answer`` is its box."""
    boxes = record.get("bboxes")
    if not isinstance(boxes, list) or boxes.count(record.get("answer")) != 1:
        raise BadRow("unfit choices: answer is not one of bboxes")
    one = _Choice(tuple([[number]] for number in range(len(boxes))), boxes.index(record["answer"])).whole()
    question = _words(record, "question")
    return Task(None, lambda found: [one.exchange(question, speaker, found)])


def _like(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """PointQA: a question about all that is like the object in the red rectangle, which the question says."""
    question, answer, boxes = _words(record, "general_question"), record.get("answer"), record.get("bboxes")
    if isinstance(boxes, list) and len([box for box in boxes if isinstance(box, list)]) > 1:
        raise BadRow(f"unfit boxes: the question speaks of one object, and there are {len(boxes)}")
    if isinstance(answer, bool) or not isinstance(answer, int | str) or answer == "":
        raise BadRow(f"unfit turn: answer is {answer!r}, neither a text nor a number")
    place = speaker.words.places["rectangle"][0].format(mark=speaker.words.name("rectangle", None))
    said = f"{question} {speaker.words.exemplar.format(place=place)}\n{speaker.instruction('single_word')}"
    return Task(None, lambda found: [(said, str(answer))])


def _caption(record: Mapping[str, Any], speaker: Speaker) -> Task:
    """Flickr30k Entities: a caption whose phrases point at objects; their marks are said in half of the cases."""
    caption, random, words = _words(record, "grounding"), speaker.random, speaker.words
    if not _BOX.sub("", caption).strip():
        raise BadRow("unfit turn: grounding holds no words")
    marks_said, told = random.random() < 0.5, random.random() < 0.5
    question = random.choice(words.marked_caption if marks_said else words.caption)

    def place(found: Mapping[int, Marked], box: re.Match[str]) -> str:
        number = int(box[1])
        if number not in found:
            return box[0]  # left over: the record is refused for it
        return f" {found[number].places[0]}" if marks_said else ""

    def write(found: Mapping[int, Marked]) -> Exchanges:
        names = [one.name for one in found.values()]
        listed = words.joined.format(first=", ".join(names[:-1]), second=names[-1]) if names[1:] else names[0]
        hint = f" {random.choice(words.listed).format(marks=listed)}" if told else ""
        return [(f"{question}{hint}", _sentence(_BOX.sub(partial(place, found), caption), speaker.language))]

    return Task(None, write)


_REASONED = ("question", "answer_choices", "answer_label", "rationale_choices", "rationale_label", "class_names")
KEYS: Mapping[str, tuple[str, ...]] = {  # of the record that a kind's conversation is made of
    **dict.fromkeys(("vcr", "vcr_qa", "vcr_qar"), (*_REASONED, "meta_dir")),
    "v7w": ("question", "answer"),
    "pointQA_twice": ("general_question", "answer"),
    "flickr30k": ("grounding",),
}
TASKS: Mapping[str, Callable[[Mapping[str, Any], Speaker], Task]] = {
    "vcr": _reasons,
    "vcr_qa": _answer,
    "vcr_qar": _rationale,
    "v7w": _which,
    "pointQA_twice": _like,
    "flickr30k": _caption,
}


@dataclass(frozen=True, slots=True)
class _Choice:
    """Options, and which is right; one alone is an answer in words."""

    options: tuple[Text, ...]
    right: int

    @classmethod
    def of(cls, record: Mapping[str, Any], what: str) -> "_Choice":
        options, right = record.get(f"{what}_choices"), record.get(f"{what}_label")
        if not isinstance(options, list) or isinstance(right, bool) or not isinstance(right, int):
            raise BadRow(f"unfit choices: there are no {what}_choices with a number as {what}_label")
        return cls(tuple(_checked(text, f"{what}_choices") for text in options), right).whole()

    def whole(self) -> "_Choice":
        if len(self.options) != OPTIONS or not 0 <= self.right < OPTIONS:
            what = f"{len(self.options)} options, number {self.right} the right one"
            raise BadRow(f"unfit choices: {what}; they are {OPTIONS}, counted from 0")
        return self

    def answered(self) -> "_Choice":
        return _Choice((self.options[self.right],), 0)

    def exchange(self, question: str, speaker: Speaker, found: Mapping[int, Marked]) -> tuple[str, str]:
        said = [speaker.say(option, found) for option in self.options]
        if len(said) == 1:
            return question, said[0]
        return speaker.choice(question, said), speaker.language.options[self.right]


def boxes_of(record: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    """The record with its objects: VCR's lie in a file of their own, ``meta_dir``, with polygons as lists of points.

    Raises ``BadRow``.
    """
    name = record.get("meta_dir")
    if record.get("bboxes") is not None or not isinstance(name, str):
        return record
    path = Path(folder) / name.removeprefix(UPSTREAM)
    try:
        found = read_json(path)
        boxes = [box[:4] for box in found["boxes"]]
        polygons = [[_flat(points) for points in one if len(points) >= 4] or None for one in found["segms"]]
    except (UserError, OSError, KeyError, TypeError) as error:
        raise BadRow(f"unfit boxes: {path} holds no boxes and segms ({error!r})") from error
    return {**record, "bboxes": boxes, "segmentations": polygons}


def _flat(points: Sequence[Sequence[float]]) -> list[float]:
    return [number for point in points for number in point]


def _naming(record: Mapping[str, Any], speaker: Speaker, plainly: bool = True) -> Speaker:
    names = record.get("class_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadRow("unfit words: class_names is no list of names")
    return Speaker(speaker.language, speaker.words, speaker.random, names, plainly)


def _words(record: Mapping[str, Any], key: str) -> str:
    text = record.get(key)
    if not isinstance(text, str) or not text.strip():
        raise BadRow(f"unfit turn: {key} is no text")
    return text


def _text(record: Mapping[str, Any], key: str) -> Text:
    return _checked(record.get(key), key)


def _checked(text: Any, key: str) -> Text:
    words = [text] if isinstance(text, str) else text
    if not isinstance(words, list) or not words or not all(isinstance(word, str) or _is_things(word) for word in words):
        raise BadRow(f"unfit words: {key} is no list of words and lists of numbers")
    return text  # type: ignore[no-any-return]


def _is_things(word: Any) -> bool:
    return isinstance(word, list) and bool(word) and all(type(number) is int and number >= 0 for number in word)


def _numbers(*texts: Text) -> tuple[int, ...]:
    """The objects that are spoken of."""
    return tuple(sorted({number for text in texts for word in text if not isinstance(word, str) for number in word}))


def _sentence(caption: str, language: Language) -> str:
    """With a capital, blanks only behind commas, and an end."""
    said = _COMMA.sub(", ", caption.strip()).strip()
    ending = "" if said[-1:] in {".", "!", "?"} else language.translation.stop
    return f"{said[:1].upper()}{said[1:]}{ending}"
