"""A program to stand in a pipe for ``apertium-tagger -z -g``: what it says of one unit depends on that unit alone.

    python _apertium_tagger.py apertium-tagger -d -z -g FILE

The tagger of Apertium 3.8 remembers. When a word's analyses form an ambiguity class that it was not trained on, it
takes the smallest trained class that holds them and is smaller than the open class, that of unknown words; and by
assigning to a reference it makes this one the open class from then on (``find_similar_ambiguity_class`` in
``tagger_utils.cc``). So this program hands it one unit at a time, listens to what it reports of new classes, and goes
on with a fresh process after each that changed the open class. Only the standard library is imported: it starts as a
script.
"""

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

END = b"\0"
CHUNK = 1 << 16
NEW_CLASS = re.compile(rb"New ambiguity class: \{(.*)\}")  # of the report that -d asks for


class Trained:
    """The ambiguity classes that a tagger was trained on, as its file begins with them.

    The file is a sequence of numbers of one to four bytes, the first two bits saying how many follow (``TaggerData``,
    ``Compression::multibyte_read`` of lttoolbox). Raises ``ValueError`` if it is not read sensibly to the classes.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        open_tags = len([self._number() for _ in self._several()])
        for _ in self._several():  # tags that may not follow each other
            self._number(), self._number()
        names = [self._string() for _ in self._several()]
        for _ in self._several():  # their numbers
            self._string(), self._number()
        for _ in self._several():  # tags that must follow
            self._number(), [self._number() for _ in self._several()]
        for _ in self._several():  # preferred analyses
            self._string()
        for _ in self._several():  # constants
            self._string(), self._number()
        classes = [frozenset(self._number() for _ in self._several()) for _ in self._several()]
        if not classes or max(map(max, classes)) >= len(names):
            raise ValueError("these are no ambiguity classes")
        named = [frozenset(names[tag].removeprefix("TAG_") for tag in tags) for tags in classes]
        self._smaller = [tags for tags in named if len(tags) < open_tags]

    def changes(self, reported: str) -> bool:
        """Whether the class reported as new, tags with commas between, changed the class of unknown words."""
        tags = frozenset(tag.removeprefix("TAG_") for tag in reported.split(","))
        return any(tags <= smaller for smaller in self._smaller)

    def _number(self) -> int:
        first = self._data[self._at : self._at + 1]
        if not first:
            raise ValueError("the file ends too early")
        further = first[0] >> 6
        digits = bytes([first[0] & 0x3F]) + self._data[self._at + 1 : self._at + 1 + further]
        self._at += 1 + further
        return int.from_bytes(digits, "big")

    def _several(self) -> range:
        return range(self._number())

    def _string(self) -> str:
        return "".join(chr(self._number()) for _ in self._several())


class Tagger:
    """One process of the tagger."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.input = self.process.stdin.fileno()
        self.output = self.process.stdout.fileno()
        self.report = self.process.stderr.fileno()
        os.set_blocking(self.report, False)

    def tag(self, unit: bytes) -> tuple[bytes, bytes]:
        """The tagged unit with its end, and what was reported about it. Raises ``EOFError`` if the process died."""
        waiting, tagged, report = unit + END, b"", b""
        while not tagged.endswith(END):
            ready, writable, _ = select.select([self.output, self.report], [self.input] if waiting else [], [])
            if writable:
                waiting = waiting[os.write(self.input, waiting[: select.PIPE_BUF]) :]
            if self.report in ready:
                report += self.reported()
            if self.output in ready:
                came = os.read(self.output, CHUNK)
                if not came:
                    raise EOFError
                tagged += came
        return tagged, report + self.reported()

    def reported(self) -> bytes:
        try:
            return os.read(self.report, CHUNK)
        except BlockingIOError:
            return b""

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for handle in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert handle
            handle.close()


def units() -> Iterator[bytes]:
    """The units of the standard input, without their ends."""
    begun = b""
    while came := os.read(0, CHUNK):
        *whole, begun = (begun + came).split(END)
        yield from whole


def trained(path: str) -> Trained | None:
    """What the tagger's file says, or None for a file in a form that is not known here."""
    try:
        return Trained(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def remembers(report: bytes, classes: Trained | None) -> bool:
    """Whether a process that reported this may treat later units otherwise."""
    if classes is None:
        return b"ambiguity class" in report
    return any(classes.changes(tags.decode(errors="replace")) for tags in NEW_CLASS.findall(report))


def main() -> None:
    command = sys.argv[1:]
    classes = trained(command[-1])
    tagger, spare = Tagger(command), Tagger(command)  # the next one is ready before it is needed
    try:
        for unit in units():
            tagged, report = tagger.tag(unit)
            while tagged:
                tagged = tagged[os.write(1, tagged) :]
            if report and remembers(report, classes):
                tagger.end()
                tagger, spare = spare, Tagger(command)
    except (EOFError, BrokenPipeError):
        sys.exit(1)
    finally:
        tagger.end()
        spare.end()


if __name__ == "__main__":
    main()
