"""What engines share that run a published sequence-to-sequence model from a folder: which model it is, how a direction
is told to it, under which licence it stands.

======  ======================================  ==============================================================
family  models                                  how the direction is told
======  ======================================  ==============================================================
opus    OPUS-MT (Tiedemann & Thottingal 2020)   ``>>pob<<`` as first source token, if the model has several
nllb    NLLB-200 (NLLB Team 2022)               first source token ``eng_Latn``, first target token ``por_Latn``
m2m     M2M-100 (Fan et al. 2020)               the same with ``__en__``, ``__pt__``
madlad  MADLAD-400 (Kudugunta et al. 2023)      ``<2pt>`` before the text
plain   any other                               not at all: the model has one direction
======  ======================================  ==============================================================
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from olhar.core.errors import UserError
from olhar.core.store import digest, digest_path
from olhar.translators import About, EngineOptions, Failure, Limits, Segment
from olhar.translators._codes import engine_code, parsed

Family = Literal["opus", "nllb", "m2m", "madlad", "plain"]
END = "</s>"
UNKNOWN_LICENCE = "unknown: see the model's card"
INDIFFERENT = {"model", "licence", "batch_tokens", "device", "threads", "workers"}  # options that mean no other text
LICENCES: dict[Family, str] = {"opus": "CC-BY-4.0", "nllb": "CC-BY-NC-4.0", "madlad": "Apache-2.0"}
WEIGHTS = ("*.bin", "*.json", "*.model", "*.safetensors", "*.spm", "*.txt")  # and what else decides a translation


class ModelOptions(EngineOptions):
    """model: its folder. source_code, target_code: what the model calls the languages, where olhar's table
    (``engine_codes``) says otherwise or a variety is wanted. beam: 1 is greedy. max_source_tokens, max_tokens: longer
    sentences and translations are failures, never cut. licence: of the weights, if it is not the family's."""

    model: str
    family: Family | None = None
    source_code: str | None = None
    target_code: str | None = None
    beam: int = Field(default=2, ge=1)
    max_source_tokens: int = Field(default=400, ge=1)
    max_tokens: int = Field(default=400, ge=1)
    batch_tokens: int = Field(default=1024, ge=1)
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """How a direction is told to a model: first tokens of source and target, or a text before the source."""

    source_token: str | None = None
    target_token: str | None = None
    prefix: str = ""


def family_of(vocabulary: Collection[str], marian: bool) -> Family:
    """The family that a model's vocabulary shows; ``marian``: whether it is a Marian model."""
    if marian:
        return "opus"
    marks: dict[Family, str] = {"nllb": "eng_Latn", "m2m": "__en__", "madlad": "<2en>"}
    return next((family for family, mark in marks.items() if mark in vocabulary), "plain")


def direction(
    options: ModelOptions, family: Family, vocabulary: Collection[str], source: str, target: str
) -> Direction:
    """How the model is told to translate from ``source`` to ``target``.

    Raises ``UserError`` for a language or a variety that it has no code for.
    """
    if family == "plain":
        return Direction()
    if family == "opus" and not any(token.startswith(">>") and token.endswith("<<") for token in vocabulary):
        return Direction()
    into = _mark(family, options.target_code or _code(family, target, "target_code"))
    _must_know(into, vocabulary, options.model)
    if family == "madlad":
        return Direction(prefix=f"{into} ")
    if family == "opus":
        return Direction(source_token=into)
    out_of = _mark(family, options.source_code or _code(family, parsed(source)[0], "source_code"))
    _must_know(out_of, vocabulary, options.model)
    return Direction(out_of, into)


def _code(family: Family, tag: str, option: str) -> str:
    code, variety = parsed(tag)
    if variety:
        raise UserError(
            f"olhar's table for {family} models does not tell the varieties of a language apart",
            tag,
            f"ask for {code}, or say with {option} what the model calls {tag}",
        )
    return code if family == "m2m" else engine_code(family, code)


def _mark(family: Family, code: str) -> str:
    forms: dict[Family, str] = {"opus": ">>{}<<", "nllb": "{}", "m2m": "__{}__", "madlad": "<2{}>"}
    return forms[family].format(code)


def _must_know(mark: str, vocabulary: Collection[str], model: str) -> None:
    if mark not in vocabulary:
        raise UserError(
            f"this model has no token {mark}: it does not know the language, or calls it otherwise",
            model,
            "say what it calls it with source_code or target_code, or take another model",
        )


def model_folder(options: ModelOptions, needed: Sequence[str]) -> Path:
    """The folder; raises ``UserError`` if it or one of the ``needed`` files is not there."""
    folder = Path(options.model)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        what = f"{missing[0]} is missing" if folder.is_dir() else "there is no such folder"
        raise UserError(what, str(folder), f"name the folder that holds {', '.join(needed)}")
    return folder


def about(engine: str, program: str, folder: Path, family: Family, options: ModelOptions) -> About:
    """Provenance: the program's version, every option, and the bytes of every file that decides a translation."""
    files = sorted({file for pattern in WEIGHTS for file in folder.glob(pattern) if file.is_file()})
    data = {file.name: digest_path(file) for file in files}
    told = options.model_dump(exclude=INDIFFERENT)
    licence = options.licence or LICENCES.get(family, UNKNOWN_LICENCE)
    version = f"{program} {family} {folder.name} {digest([told, data])}"
    return About(engine, version, licence, non_commercial="NC" in licence.split("-"))


class ModelTranslator(ABC):
    """A ``Translator`` of single strings. Sums of floating-point numbers depend on the batch, hence not deterministic:
    where two words are as probable as each other, the batch may decide."""

    keeps = False
    deterministic = False
    limits = Limits()

    def __init__(self, about: About) -> None:
        self.about = about

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        texts = [segment[0] if len(segment) == 1 and isinstance(segment[0], str) else "" for segment in segments]
        given = [number for number, text in enumerate(texts) if text.strip()]
        results: list[Segment | Failure] = [Failure("not one string with a letter in it")] * len(segments)
        for number, came in zip(given, self.texts([texts[number].strip() for number in given]), strict=True):
            results[number] = came if isinstance(came, Failure) else (_around(texts[number], came),)
        return results

    def texts(self, sources: Sequence[str]) -> list[str | Failure]:
        """One result for each string, in order; too long ones do not reach the model."""
        tokens = [self.tokens(source) for source in sources]
        longest = self.longest()
        results: list[str | Failure] = [
            Failure(f"{len(source)} tokens, and the model is given {longest} at most") for source in tokens
        ]
        short = [number for number, source in enumerate(tokens) if len(source) <= longest]
        if short:
            for number, came in zip(short, self.generate([tokens[number] for number in short]), strict=True):
                results[number] = came
        return results

    @abstractmethod
    def longest(self) -> int:
        """How many tokens a source may have."""

    @abstractmethod
    def tokens(self, source: str) -> list[str]:
        """The tokens the model reads, with those that tell the direction."""

    @abstractmethod
    def generate(self, sources: Sequence[list[str]]) -> list[str | Failure]:
        """One text for each source, in order; a text that found no end is a failure."""

    @abstractmethod
    def close(self) -> None: ...


def _around(source: str, translated: str) -> str:
    """The translation with the source's outer white space."""
    lead = source[: len(source) - len(source.lstrip())]
    return lead + translated + source[len(source.rstrip()) :]
