"""A translation for people to look at, as one page that needs nothing but itself.

Source and target stand side by side, sentence by sentence; corrections are written into the page and saved as a CSV
file that ``olhar.translation.corrections`` reads. The page holds a bounded number of texts and says of how many.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from olhar.core import choices
from olhar.core.store import writing
from olhar.languages import Language
from olhar.reports import _pages
from olhar.translation.passages import RANKS, Passage, Rank
from olhar.translation.policies import Policies, Policy
from olhar.translation.review import Review
from olhar.translation.translated import NAME

LINES = 80  # sentences of a text that are shown
RIGHT_TO_LEFT = frozenset({"ARABIC", "HEBREW", "SYRIAC", "THAANA", "NKO", "ADLAM"})  # as Language.scripts names them
SHORT: Mapping[Rank, str] = {rank: rank for rank in RANKS} | {"clean": "no finding"}
LONG: Mapping[Rank, str] = {
    "left": "texts with something left in the source language",
    "error": "with an error",
    "warning": "with a warning",
    "info": "with a note",
    "clean": "without a finding",
}
METHODS: Mapping[str, str] = {  # shown beside a sentence; what the engine made as a matter of course is not
    "table": "a fixed answer of the language, no engine was asked",
    "glossary": "from the policy's glossary, no engine was asked",
    "second method": "the sentence was cut at its kept spans, and its pieces were translated one by one",
    "correction": "written by a person",
    "none": "no translation passed the checks: the source stands in the file",
}
LOOKS: Mapping[str, str] = {
    "kept": "must survive as it is",
    "lost": "not on the other side",
    "added": "not in the original",
}


@dataclass(frozen=True, slots=True)
class Side:
    """A language as the page writes it. ``code``: for the attribute ``lang``."""

    code: str
    name: str
    own_name: str
    direction: str


def write_page(review: Review, path: Path) -> None:
    """Raises ``DiskError`` where the disk refuses."""
    with writing(path) as page:
        page.write(html(review))


def html(review: Review) -> str:
    """The page."""
    translated, tally = review.translated, review.tally
    source = _side(translated.direction.source, translated.source)
    target = _side(translated.direction.target, translated.target)
    shown = {passage.rank for passage in (*review.worst, *review.sample)}
    page = _pages.html().get_template("review.html.j2")
    return page.render(
        name=translated.output.name,
        output=translated.output,
        source=source,
        target=target,
        verdict=verdict(review),
        alarms=alarms(review),
        outcomes=[(rank, tally.ranks[rank]) for rank in reversed(RANKS)],
        engine=translated.engine,
        options=[(name, str(value)) for name, value in translated.options.items() if value not in (None, "")],
        origins=_origins(review),
        asked=_asked(review.translated.counts),
        policies=list(_policies(review)),
        found=list(_found(review)),
        sections=list(_sections(review)),
        shown_ranks=[rank for rank in RANKS if rank in shown],
        kinds=_kinds,
        ranks=SHORT,
        long_ranks=LONG,
        methods=METHODS,
        looks=LOOKS,
        most=LINES,
    )


def verdict(review: Review) -> str:
    """The outcome in one or two sentences."""
    tally = review.tally
    if not tally.texts:
        return "There is nothing to look at: the file holds no text."
    left, source = tally.ranks["left"], review.translated.source.name
    remarks = sum(tally.ranks[rank] for rank in ("error", "warning", "info"))
    rest = f"findings on {_texts(remarks)} besides." if remarks else "no check has anything more to say."
    stays = f"In {_texts(left)} something was left in {source}" if left else f"Nothing was left in {source}"
    return f"{_many(tally.sentences, 'sentence')} in {_texts(tally.texts)}. {stays}; {rest}"


def alarms(review: Review) -> list[tuple[str, str]]:
    """What must not be overlooked: a licence that forbids, an engine against its terms, a file behind its cache."""
    engine = review.translated.engine
    told = []
    if engine.non_commercial:
        meaning = (
            f"What {engine.name} wrote, and what is trained on it, may not be free to use: say so where you publish."
        )
        told.append((f"Non-commercial licence: {engine.licence}.", meaning))
    if not engine.official:
        meaning = f"{engine.name} uses its service in bulk against its terms: do not publish what it wrote."
        told.append(("Unofficial engine.", meaning))
    if stale := sum(passage.stale for passage in {*review.worst, *review.sample}):
        meaning = f"{_texts(stale)} shown here read otherwise in the file: translate again to take the corrections in."
        told.append(("Corrected since.", meaning))
    return told


def _texts(count: int) -> str:
    return _many(count, "text")


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}" + "s" * (count != 1)


def _side(code: str, spoken: Language) -> Side:
    backwards = not RIGHT_TO_LEFT.isdisjoint(spoken.scripts)
    return Side(code, spoken.name, spoken.own_name, "rtl" if backwards else "ltr")


def _origins(review: Review) -> list[tuple[str, int, str]]:
    """Of all sentences as they stand in the texts: where their translation is from, how many, what that means."""
    methods = review.tally.methods
    return [
        ("engine", methods["engine"], "whole sentences"),
        ("engine, second method", methods["second method"], METHODS["second method"]),
        ("fixed answers", methods["table"], METHODS["table"]),
        ("glossary", methods["glossary"], METHODS["glossary"]),
        ("corrections by people", methods["correction"], METHODS["correction"]),
        (f"left in {review.translated.source.name}", methods["none"], METHODS["none"]),
    ]


def _asked(counts: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Of the different sentences: what the run that wrote the file asked the engine for."""
    if "unique segments" not in counts:
        return []
    unique, asked = counts["unique segments"], counts.get("segments asked for", 0)
    return [
        ("different sentences", unique, "equal sentences are translated once"),
        ("asked of the engine", asked, "in the run that wrote the file"),
        ("known before", max(0, unique - asked), "from the cache: asked for in earlier runs, or corrected by people"),
    ]


def _policies(review: Review) -> Iterator[tuple[str, str, int, int, int]]:
    policies = review.translated.policies
    for name, count in sorted(review.tally.policies.items()):
        told = _told(policies.partitions.get(name, policies.default), policies)
        yield name, told, count["texts"], count["left"], count["remarks"]


def _told(policy: Policy, policies: Policies) -> str:
    """What differs from a policy that says nothing."""
    usual, told = Policy(), []
    for name in type(policy).model_fields:
        value = getattr(policy, name)
        if value != getattr(usual, name):
            told.append(f"{len(value)} terms in the glossary" if name == "glossary" else f"{name}: {value}")
    return ", ".join(told)


def _found(review: Review) -> Iterator[tuple[str, str, str, int, str]]:
    """Severity, check, kind, texts, advice; worst first."""
    order: dict[str, int] = {rank: place for place, rank in enumerate(RANKS)}
    found = sorted(review.tally.found.items(), key=lambda each: (order[each[0][0]], -each[1], each[0]))
    for (severity, check, kind), count in found:
        yield severity, check, kind, count, _advice(check, kind)


def _advice(check: str, kind: str) -> str:
    if check == NAME:
        return ""
    return str(getattr(choices.choose("checks", check), "ADVICE", {}).get(kind, ""))


def _sections(review: Review) -> Iterator[tuple[str, str, tuple[Passage, ...]]]:
    texts, worst, drawn = review.tally.texts, review.worst, review.sample
    about = (
        "all texts, worst first"
        if len(worst) == texts
        else f"{len(worst):,} of {_texts(texts)}, kinds of findings in turn"
    )
    yield "Worst first", about, worst
    if drawn:
        yield "A random sample", f"{len(drawn):,} of {_texts(texts)}, drawn with seed {review.seed}", drawn


def _kinds(passage: Passage) -> list[str]:
    return [f"{remark.check}: {remark.kind}" for remark in passage.remarks]
