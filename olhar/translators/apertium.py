"""Apertium: rules and dictionaries instead of a model; offline, on one core, some thousand words a second.

Forcada et al. 2011, "Apertium: a free/open-source platform for rule-based machine translation". Its programs are
joined here into one pipe that stays open (the ``apertium`` command answers only at the end of its input). A direction
without a pair of its own goes over one language between. Good for demonstrations, tests and drafts of
closely related languages; from English its sentences are no training data.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from olhar.core.errors import UserError
from olhar.core.store import digest, digest_path
from olhar.translators import About, EngineOptions, Failure, Limits, Segment
from olhar.translators import _apertium_modes as modes
from olhar.translators._apertium_text import number_of, segment_from, unit
from olhar.translators._codes import engine_code, parsed
from olhar.translators._pipe import Pipe

RESTARTS = 3  # of one call


class Options(EngineOptions):
    """pivot: code of the language between, if not the usual one. patience: seconds after which a silent pipe hangs."""

    modes: str = "/usr/share/apertium/modes"
    pivot: str | None = None
    patience: float = Field(default=60.0, gt=0)


def open(options: Options, source: str, target: str) -> "Apertium":
    """The pipe for one direction. Raises ``UserError`` naming Debian's packages where something is not installed."""
    found = modes.way(Path(options.modes), _code(source), _code(target), options.pivot)
    programs = [program for mode in found for program in mode.programs()]
    return Apertium(programs, "+".join(mode.name for mode in found), options.patience)


def _code(tag: str) -> modes.Code:
    """The language and variety that is asked for: of ``pt`` the variety of olhar's own Portuguese, of ``pt-PT`` PT."""
    spoken, variety = modes.code(engine_code("apertium", tag))
    return spoken, parsed(tag)[1] or variety


class Apertium:
    """A ``Translator``; it starts its programs with the first segment."""

    keeps = True
    limits = Limits()

    def __init__(self, programs: Sequence[Sequence[str]], name: str, patience: float) -> None:
        self.deterministic = modes.forgetful(programs)
        self.about = About("apertium", _version(programs, name), "GPL (programs and dictionaries)")
        self._programs = [modes.watched(program) for program in programs]
        self._patience = patience
        self._pipe: Pipe | None = None
        self._sent = 0  # units so far: each has a number of its own

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        results: list[Segment | Failure] = [Failure("not tried", passing=True)] * len(segments)
        waiting: list[tuple[int, bytes]] = []
        for number, segment in enumerate(segments):
            try:
                waiting.append((number, unit(segment, self._sent + number)))
            except ValueError as error:
                results[number] = Failure(f"Apertium cannot read it: {error}")
        self._sent += len(segments)
        for _ in range(RESTARTS + 1):
            if not waiting:
                break
            came, reason = self._through([data for _, data in waiting])
            for (number, _), output in zip(waiting, came, strict=False):
                results[number] = segment_from(output, segments[number])
            waiting = waiting[len(came) :]
            if waiting:  # the first without an answer may be what it broke at: the others go on without it
                results[waiting.pop(0)[0]] = Failure(f"Apertium broke: {reason}", passing=True)
        for number, _ in waiting:
            results[number] = Failure(f"Apertium broke {RESTARTS + 1} times, last: {reason}", passing=True)
        return results

    def close(self) -> None:
        if self._pipe:
            self._pipe.close()
        self._pipe = None

    def _through(self, units: Sequence[bytes]) -> tuple[list[bytes], str]:
        """Answers up to where the pipe broke or an answer is not its unit's, and why that was."""
        try:
            self._pipe = self._pipe or Pipe(self._programs, self._patience)
        except OSError as error:
            return [], f"it cannot be started: {error}"
        came = self._pipe.through(units)
        for place, (sent, got) in enumerate(zip(units, came, strict=False)):
            if number_of(sent) != number_of(got):
                self.close()
                return came[:place], "an answer was another sentence's"
        reason = self._pipe.broken
        if reason:
            self.close()
        return came, reason or ""


def _version(programs: Sequence[Sequence[str]], name: str) -> str:
    """Of the programs, the way, and the bytes of everything that a translation depends on."""
    apertium = shutil.which("apertium")
    if not apertium:
        raise UserError("Apertium is not installed", "the program apertium", "on Debian: apt-get install apertium")
    said = subprocess.run([apertium, "-V"], capture_output=True, text=True, check=False).stdout.split()
    paths = {word for program in programs for word in program if word.startswith("/")}
    paths |= {found for program in programs if (found := shutil.which(program[0]))}
    data = {path: digest_path(Path(path)) for path in sorted(paths)}
    return f"{said[-1] if said else 'unknown'} {name} {digest([list(map(list, programs)), data])}"
