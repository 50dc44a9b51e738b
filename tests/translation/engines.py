"""Engines that misbehave in every way that real ones were seen to, and the calls that put up with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from olhar.languages import Language
from olhar.translation.invariants import problems, text_problems
from olhar.translation.policies import Policy
from olhar.translation.segments import for_engine, from_engine, from_pieces, pieces, taken_apart
from olhar.translators import Failure, Kept, Segment

Result = Segment | Failure | None


@dataclass
class Fake:
    """``change`` makes a result of a segment; ``seen`` is all that was asked for."""

    change: Callable[[Segment], Result]
    keeps: bool = True
    short: bool = False  # one result fewer than asked for
    seen: list[Segment] = field(default_factory=list)

    def translate(self, segments: Sequence[Segment]) -> list[Result]:
        self.seen += segments
        results = [self.change(segment) for segment in segments]
        return results[:-1] if self.short else results


def on_text(change: Callable[[str], str]) -> Callable[[Segment], Segment]:
    return lambda segment: tuple(change(part) if isinstance(part, str) else part for part in segment)


def reordered(segment: Segment) -> Segment:
    return tuple(reversed(segment))


def words_reversed(text: str) -> str:
    return " ".join(reversed(text.split()))


def doubled(segment: Segment) -> Segment:
    return tuple(part for each in segment for part in ((each, each) if isinstance(each, Kept) else (each,)))


def dropped(segment: Segment) -> Segment:
    return tuple(part for part in segment if isinstance(part, str))


def emptied(segment: Segment) -> Segment:
    return tuple("" if isinstance(part, str) else part for part in segment)


def tags_translated(segment: Segment) -> Segment:
    """What engines do to tags in plain text: <image> becomes <imagem>."""
    return tuple(
        part.text.replace("image", "imagem").swapcase() if isinstance(part, Kept) else part for part in segment
    )


def spaced(text: str) -> str:
    return "  " + text.replace(" ", "   ").replace(",", " , ") + "   "


def spelled(segment: Segment) -> Segment:
    """A part for each word."""
    return tuple(word for part in segment for word in ([part] if isinstance(part, Kept) else _words(part)))


def _words(text: str) -> list[str]:
    return [piece for word in text.split(" ") for piece in (word, " ")][:-1]


ENGINES: dict[str, Callable[[Segment], Result]] = {
    "identity": lambda segment: segment,
    "shouts": on_text(str.upper),
    "reverses words": on_text(words_reversed),
    "reorders": reordered,
    "drops": dropped,
    "doubles": doubled,
    "adds blanks": on_text(spaced),
    "adds a line": on_text(lambda text: text + "\nE mais."),
    "adds a number": on_text(lambda text: text + " 77"),
    "adds a tag": on_text(lambda text: f"<b>{text}</b>"),
    "adds a cell": on_text(lambda text: text + " | x"),
    "adds a bullet": on_text(lambda text: "- " + text),
    "glues": on_text(str.strip),
    "empties": emptied,
    "gives nothing": lambda segment: (),
    "gives None": lambda segment: None,
    "fails": lambda segment: Failure("429", passing=True),
    "splits words": spelled,
    "translates tags": tags_translated,
}


@dataclass(frozen=True)
class Driven:
    """``asked`` and ``left``: how many segments there were, and stayed in the source language. ``first``: the text
    before the whole of it is left in the source language because of ``text_problems``."""

    text: str
    first: str
    asked: int
    left: int
    flagged: bool


def drive(
    text: str, engine: Fake, source: Language, target: Language, policy: Policy | None = None, answer: bool = False
) -> Driven:
    """A text through taken_apart, engine, check, second method, put_together: the pipeline's way, without a cache."""
    policy = policy or Policy()
    skeleton = taken_apart(text, source, target, policy, answer)
    translated = [_translated(segment, engine, source, target) for segment in skeleton.segments]
    restored = skeleton.put_together(translated)
    found = text_problems(text, restored.text, source, target, policy)
    if any(problem.severity == "error" for problem in found):
        return Driven(text, restored.text, len(translated), len(translated), True)
    return Driven(restored.text, restored.text, len(translated), len(restored.left), bool(restored.left or found))


def _translated(segment: Segment, engine: Fake, source: Language, target: Language) -> Segment | None:
    results = _asked(engine, for_engine(segment, engine.keeps))
    if results is not None:
        made = from_engine(segment, engine.keeps, results)
        if not problems(segment, made, source, target):
            return made
    results = _asked(engine, pieces(segment))
    if results is None:
        return None
    made = from_pieces(segment, results)
    return None if problems(segment, made, source, target) else made


def _asked(engine: Fake, segments: list[Segment]) -> list[Segment] | None:
    """The results, or None where one is missing or a failure."""
    results = engine.translate(segments)
    good = [result for result in results if isinstance(result, tuple)]
    return good if len(good) == len(segments) == len(results) else None
