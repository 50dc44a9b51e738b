"""The modes that Apertium has installed, and a way through them from one language to another.

A mode file is one line of shell: programs and their data, joined by ``|``. Its name says the direction:
``eng-spa``, ``es-pt_BR``.
"""

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from olhar.core.errors import UserError

ARGUMENTS: Mapping[str, tuple[str, ...]] = {"$1": ("-n",), "$2": ()}  # no mark on unknown words; no other wishes
TAGGER = Path(__file__).with_name("_apertium_tagger.py")
# Programs that give the same for a unit whatever came before it; apertium-tagger does with TAGGER's help.
FORGETFUL = frozenset(
    {
        "apertium-interchunk",
        "apertium-postchunk",
        "apertium-pretransfer",
        "apertium-tagger",
        "apertium-transfer",
        "lrx-proc",
        "lt-proc",
    }
)
# ISO 639-3 codes, which newer pairs use, and the ISO 639-1 codes of older ones.
SHORT = {
    **{"afr": "af", "arg": "an", "bel": "be", "bre": "br", "bul": "bg", "cat": "ca", "dan": "da", "eng": "en"},
    **{"epo": "eo", "eus": "eu", "fra": "fr", "glg": "gl", "hbs": "sh", "hin": "hi", "ind": "id", "isl": "is"},
    **{"ita": "it", "mkd": "mk", "nld": "nl", "nno": "nn", "nob": "nb", "nor": "no", "oci": "oc", "pol": "pl"},
    **{"por": "pt", "ron": "ro", "rus": "ru", "slv": "sl", "spa": "es", "srd": "sc", "swe": "sv", "ukr": "uk"},
    **{"urd": "ur", "zlm": "ms"},
}
STANDARD = {"pt": "PT", "en": "GB"}  # the variety that a mode writes which names none

Code = tuple[str, str]
"""A language by its shortest ISO 639 code, and a variety or ""."""


@dataclass(frozen=True, slots=True)
class Way:
    """A direction whose translations have been looked at: the language between, and Debian's packages."""

    pivot: str
    packages: tuple[str, ...]


LOOKED_AT: Mapping[tuple[str, Code], Way] = {
    ("en", ("pt", "BR")): Way("es", ("apertium-eng-spa", "apertium-es-pt")),
    ("en", ("pt", "PT")): Way("gl", ("apertium-en-gl", "apertium-pt-gl")),
}


@dataclass(frozen=True, slots=True)
class Mode:
    """One installed direction."""

    path: Path
    source: Code
    target: Code

    @property
    def name(self) -> str:
        return self.path.stem

    def programs(self) -> list[list[str]]:
        """The mode's programs with their arguments, each told to end its output with the unit (``-z``).

        Raises ``UserError`` for a program or a data file that is not there.
        """
        words = shlex.shlex(self.path.read_text(encoding="utf-8"), posix=True, punctuation_chars="|")
        words.whitespace_split = True
        programs: list[list[str]] = [[]]
        for word in words:
            if word == "|":
                programs.append([])
            else:
                programs[-1] += ARGUMENTS.get(word, (word,))
        for program in programs:
            program[1:1] = ["-z"]
            self._must_be_there(program)
        return programs

    def _must_be_there(self, program: Sequence[str]) -> None:
        missing = [word for word in program if word.startswith("/") and not Path(word).exists()]
        if not shutil.which(program[0]):
            missing.insert(0, program[0])
        if missing:
            raise UserError(
                f"the Apertium mode {self.name} needs {missing[0]}, which is not there",
                str(self.path),
                "install the package apertium and the pair's own package again",
            )


def code(name: str) -> Code:
    """``eng`` -> ("en", "GB"); ``pt_BR`` -> ("pt", "BR"); ``spa`` -> ("es", "")."""
    spoken, _, variety = name.partition("_")
    spoken = SHORT.get(spoken, spoken)
    return spoken, variety or STANDARD.get(spoken, "")


def installed(folder: Path) -> list[Mode]:
    """The modes of a folder by name; those with a third part in their name (``gl-pt-latin1``) are variants."""
    ends = ((path, path.stem.split("-")) for path in sorted(folder.glob("*.mode")))
    return [Mode(path, code(names[0]), code(names[1])) for path, names in ends if len(names) == 2]


def way(folder: Path, source: Code, target: Code, pivot: str | None) -> tuple[Mode, ...]:
    """One mode from source to target, or two with a language between.

    The source's variety does not matter, the target's does. Without ``pivot``, a direct mode comes first, then the
    language of ``LOOKED_AT``, then the alphabet. Raises ``UserError`` if nothing installed leads there.
    """
    modes = installed(folder)
    if not pivot:
        for mode in modes:
            if mode.source[0] == source[0] and mode.target == target:
                return (mode,)
    known = LOOKED_AT.get((source[0], target))
    wanted = SHORT.get(pivot, pivot) if pivot else None
    found = [pair for pair in _pairs(modes, source, target) if wanted in (None, pair[1].source[0])]
    if not found:
        raise _no_way(folder, source, target, pivot)
    found.sort(key=lambda pair: pair[1].source[0] != (known.pivot if known else None))
    return found[0]


def _pairs(modes: Sequence[Mode], source: Code, target: Code) -> Iterator[tuple[Mode, Mode]]:
    for first in modes:
        for second in modes:
            joined = first.target[0] == second.source[0] not in (source[0], target[0])
            if joined and first.source[0] == source[0] and second.target == target:
                yield first, second


def _no_way(folder: Path, source: Code, target: Code, pivot: str | None) -> UserError:
    known = LOOKED_AT.get((source[0], target))
    packages = " ".join(known.packages) if known else f"a pair apertium-{source[0]}-… or …-{target[0]}"
    there = ", ".join(mode.name for mode in installed(folder)) or "none"
    over = f" over {pivot}" if pivot else ""
    return UserError(
        f"no installed Apertium mode leads from {source[0]} to {'_'.join(target)}{over}; there are: {there}",
        str(folder),
        f"on Debian: apt-get install apertium {packages}",
    )


def forgetful(programs: Sequence[Sequence[str]]) -> bool:
    """Whether none of these programs remembers a unit."""
    hidden_markov = all("-g" in program for program in programs if program[0] == "apertium-tagger")
    return hidden_markov and all(program[0] in FORGETFUL for program in programs)


def watched(program: Sequence[str]) -> list[str]:
    """The program as it is started: the tagger by ``_apertium_tagger``, any other as it is."""
    if program[0] == "apertium-tagger" and "-g" in program:
        return [sys.executable, "-I", "-S", str(TAGGER), program[0], "-d", *program[1:]]
    return list(program)
