"""Apertium as installed: the same translation in any order and company, kept spans, no process left behind."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from olhar.translators import Failure, Kept, Segment, apertium
from olhar.translators import _apertium_modes as modes
from olhar.translators._apertium_tagger import Trained, remembers, trained
from olhar.translators._apertium_text import unit
from tests.translators.tiny_marian import sentences

NUMBER = re.compile(r"(\d[\d.,]*)")


def with_kept(text: str) -> Segment:
    """Numbers kept."""
    parts = NUMBER.split(text)
    return tuple(Kept(part) if place % 2 else part for place, part in enumerate(parts) if part)


SEGMENTS = [with_kept(sentence) for sentence in sentences()]


@pytest.fixture(scope="module")
def engine(direction: str) -> Iterator[apertium.Apertium]:
    opened = apertium.open(apertium.Options(), "en", direction)
    yield opened
    opened.close()


def text(result: Segment | Failure) -> str:
    assert not isinstance(result, Failure), result
    return "".join(part if isinstance(part, str) else part.text for part in result)


def test_order_and_company_do_not_matter(direction: str, engine: apertium.Apertium) -> None:
    assert engine.deterministic
    in_order = engine.translate(SEGMENTS)
    shuffled = list(range(len(SEGMENTS)))
    random.Random(0).shuffle(shuffled)
    other = apertium.open(apertium.Options(), "en", direction)
    results: dict[int, Segment | Failure] = {}
    for start in range(0, len(shuffled), 7):
        numbers = shuffled[start : start + 7]
        results |= zip(numbers, other.translate([SEGMENTS[number] for number in numbers]), strict=True)
    other.close()
    assert [results[number] for number in range(len(SEGMENTS))] == in_order


def test_every_sentence_comes_back_with_what_is_kept(engine: apertium.Apertium) -> None:
    assert sum(any(isinstance(part, Kept) for part in segment) for segment in SEGMENTS) > 10
    for segment, result in zip(SEGMENTS, engine.translate(SEGMENTS), strict=True):
        assert not isinstance(result, Failure), (segment, result)
        kept = [part for part in segment if isinstance(part, Kept)]
        assert sorted(map(str, kept)) == sorted(str(part) for part in result if isinstance(part, Kept))


def test_it_writes_the_variety_that_was_asked_for(direction: str, engine: apertium.Apertium) -> None:
    bus = text(engine.translate([("The bus.",)])[0])
    assert bus.split()[-1] == {"pt": "ônibus.", "pt-PT": "autocarro."}[direction]


def test_signs_of_its_own_come_through(engine: apertium.Apertium) -> None:
    signs = r"@ { } ^ $ / \ < > [ ] ~ * # +"
    assert text(engine.translate([(f"Look: {signs}",)])[0]).endswith(signs)
    no = text(engine.translate([("No",)])[0])
    assert len(no) == 3 and no.startswith("N") and no.endswith("o"), "read as an abbreviation?"


def test_a_killed_program_costs_no_order(engine: apertium.Apertium) -> None:
    expected = engine.translate(SEGMENTS[:40])
    assert engine._pipe
    engine._pipe._processes[3].kill()
    results = engine.translate(SEGMENTS[:40])
    assert sum(isinstance(result, Failure) for result in results) <= 1
    for result, wanted in zip(results, expected, strict=True):
        assert result == wanted or (isinstance(result, Failure) and result.passing)
    assert engine.translate(SEGMENTS[:40]) == expected


def test_versions_tell_ways_apart(direction: str, engine: apertium.Apertium) -> None:
    again = apertium.open(apertium.Options(patience=5), "en", direction)
    assert again.about == engine.about and re.match(r"3\.\d+\.\d+ ", again.about.version)
    other = apertium.open(apertium.Options(), "en", "pt" if direction == "pt-PT" else "pt-PT")
    assert other.about.version != engine.about.version


PARENT = """
import sys, time
from olhar.translators import apertium
engine = apertium.open(apertium.Options(), "en", sys.argv[1])
engine.translate([("Hello",)])
print(*[process.pid for process in engine._pipe._processes], flush=True)
time.sleep(60)
"""


def test_programs_end_with_a_killed_parent(direction: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, direction], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    children = [int(number) for number in parent.stdout.readline().split()]
    assert len(children) > 5
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while any(map(_runs, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(_runs, children))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def tagger_and_its_input(target: str) -> tuple[list[str], list[bytes]]:
    """The first tagger of a way, and the shipped sentences as analysed before it, some twice and in two orders."""
    source, variety = modes.code(target)
    first, tagger = modes.way(Path("/usr/share/apertium/modes"), ("en", "GB"), (source, variety), None)[0].programs()[
        :2
    ]
    units = [unit(segment, number) for number, segment in enumerate(SEGMENTS)]
    done = subprocess.run(first, input=b"".join(one + b"\0" for one in units), capture_output=True, check=True)
    return tagger, done.stdout.split(b"\0")[: len(units)]


def tagged(command: list[str], units: list[bytes]) -> list[bytes]:
    done = subprocess.run(command, input=b"".join(one + b"\0" for one in units), capture_output=True, check=True)
    return done.stdout.split(b"\0")[: len(units)]


def test_the_tagger_watched_is_a_new_one_for_every_unit(direction: str) -> None:
    tagger, units = tagger_and_its_input({"pt": "pt_BR", "pt-PT": "pt"}[direction])
    alone = [tagged(tagger, [one])[0] for one in units]
    assert tagged(modes.watched(tagger), units) == alone
    assert tagged(modes.watched(tagger), units[::-1])[::-1] == alone
    assert tagged(tagger, units * 2)[len(units) :] != alone, "the tagger has learned to forget: nothing need be watched"


def test_the_tagger_s_file_is_read(direction: str) -> None:
    tagger, _ = tagger_and_its_input({"pt": "pt_BR", "pt-PT": "pt"}[direction])
    classes = trained(tagger[-1])
    assert isinstance(classes, Trained)
    assert classes.changes("INF,PRES,PAST") and not classes.changes("NUM,PRNSUBJ")
    report = b"Word 'x'.\nNew ambiguity class: {INF,PRES,PAST}\n"
    assert remembers(report, classes) and not remembers(b"Warning: something else", classes)
    assert remembers(b"a new ambiguity class was found", None)


def test_a_file_that_is_no_tagger_s_means_caution(tmp_path: Path) -> None:
    for data in (b"", b"\1", b"\0" * 40, os.urandom(4000)):
        (tmp_path / "x.prob").write_bytes(data)
        classes = trained(str(tmp_path / "x.prob"))
        assert classes is None or remembers(b"New ambiguity class: {}", classes)
    assert trained(str(tmp_path / "nothing")) is None


def test_apertium_s_programs_are_where_the_modes_say(direction: str) -> None:
    for mode in modes.installed(Path("/usr/share/apertium/modes")):
        assert all(shutil.which(program[0]) for program in mode.programs())
