"""The pipe of programs: what it does when one of them breaks, hangs or says too much; and the stream's own language."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment, apertium
from olhar.translators import _apertium_modes as modes
from olhar.translators._apertium_text import number_of, segment_from, unit
from olhar.translators._pipe import Pipe

PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stage.py"))]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> apertium.Apertium:
    """Apertium's translator over two of our own programs."""
    monkeypatch.setattr(apertium, "_version", lambda programs, name: name)
    return apertium.Apertium([[*PROGRAM, str(tmp_path)]] * 2, "shout", patience=1.0)


def shouted(texts: list[str]) -> list[Segment]:
    return [(text.upper(),) for text in texts]


def test_one_comes_out_for_each_that_goes_in() -> None:
    pipe = Pipe([PROGRAM, PROGRAM], patience=5.0)
    many = [b"x" * 5000 + str(number).encode() for number in range(300)]  # more than all buffers hold
    assert pipe.through(many) == [one.upper() for one in many]
    assert pipe.through([]) == [] and pipe.through([b"a"]) == [b"A"]
    processes = pipe._processes
    pipe.close()
    pipe.close()
    assert all(process.returncode is not None for process in processes)
    assert pipe.through([b"a"]) == [] and pipe.broken


def test_a_program_that_is_not_there_leaves_none_running() -> None:
    with pytest.raises(OSError):
        Pipe([PROGRAM, ["/no/such/program"]], patience=1.0)


def test_a_crash_costs_one_segment(engine: apertium.Apertium) -> None:
    texts = ["one", "two", "crash here", "four", "five"]
    results = engine.translate([(text,) for text in texts])
    failure = results.pop(2)
    assert isinstance(failure, Failure) and failure.passing
    assert "ended with 3" in failure.reason and "this is why" in failure.reason
    assert results == shouted(["one", "two", "four", "five"])
    engine.close()


def test_a_crash_that_passes_is_gone_at_the_next_try(engine: apertium.Apertium) -> None:
    (failure,) = engine.translate([("once",)])
    assert isinstance(failure, Failure) and failure.passing
    assert engine.translate([("once",)]) == shouted(["once"])
    engine.close()


def test_a_pipe_that_hangs_is_not_waited_for(engine: apertium.Apertium) -> None:
    began = time.monotonic()
    results = engine.translate([("one",), ("hang",), ("three",)])
    assert time.monotonic() - began < 10
    assert [results[0], results[2]] == shouted(["one", "three"])
    assert isinstance(results[1], Failure) and "nothing came out" in results[1].reason and results[1].passing
    engine.close()


def test_many_crashes_are_given_up(engine: apertium.Apertium) -> None:
    results = engine.translate([("crash",)] * 8 + [("nine",)])
    assert len(results) == 9
    assert all(isinstance(result, Failure) and result.passing for result in results)
    assert engine.translate([("nine",)]) == shouted(["nine"])
    engine.close()


@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_answer_too_many_shifts_nothing(engine: apertium.Apertium, place: int) -> None:
    texts = ["one", "two", "three"]
    texts.insert(place, "twice")
    results = engine.translate([(text,) for text in texts])
    results += engine.translate([("five",), ("six",)])  # the surplus may come this late
    for text, result in zip([*texts, "five", "six"], results, strict=True):
        assert isinstance(result, Failure) or result == (text.upper(),)
    assert engine.translate([("one",), ("two",)]) == shouted(["one", "two"])
    engine.close()


def test_a_late_surplus_is_not_the_next_answer(engine: apertium.Apertium) -> None:
    for _ in range(10):
        engine.translate([("twice",)])
        (result,) = engine.translate([("seven",)])
        assert isinstance(result, Failure) or result == ("SEVEN",)
    engine.close()


def test_what_no_stream_can_hold_is_a_failure(engine: apertium.Apertium) -> None:
    results = engine.translate([("one",), ("a\0b",), ("half a \ud800 pair",), ("four",)])
    assert [results[0], results[3]] == shouted(["one", "four"])
    assert all(isinstance(result, Failure) and not result.passing for result in results[1:3])
    engine.close()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(st.one_of(TEXT, TEXT.map(Kept)), min_size=1, max_size=6))
def test_a_stream_that_changes_nothing_gives_back_every_sign(parts: list[str | Kept]) -> None:
    segment: Segment = tuple(parts)
    data = unit(segment, 7)
    assert number_of(data) == 7
    came = segment_from(data, segment)
    if any(isinstance(part, str) and part.strip() for part in parts):
        assert not isinstance(came, Failure)
        assert [part for part in came if isinstance(part, Kept)] == [part for part in parts if isinstance(part, Kept)]
        assert "".join(_written(came)) == "".join(_written(segment))
    assert b"\0" not in data


def _written(segment: Segment) -> list[str]:
    return [part if isinstance(part, str) else f"\0{part.text}\0" for part in segment]


def test_blanks_that_apertium_adds_are_taken_away() -> None:
    source: Segment = ("It has", Kept("3"), " people\tand  more ")
    output = rb" Tem[0]  pessoas[" + b"\t" + rb"]e[  ]mais [=4].[]"
    assert segment_from(output, source) == ("Tem", Kept("3"), " pessoas\te  mais ")


@pytest.mark.parametrize("output", [b"a.[]", b"a[=4].[]b", b"[=4]a.[]", b"[=4].[]", b""])
def test_an_answer_without_its_end_is_a_failure(output: bytes) -> None:
    assert isinstance(segment_from(output, ("x",)), Failure)


def mode(folder: Path, name: str, line: str = "cat | cat $1 $2") -> None:
    (folder / f"{name}.mode").write_text(line)


def names(folder: Path, source: str, target: str, variety: str, pivot: str | None = None) -> list[str]:
    found = modes.way(folder, (source, ""), (target, variety), pivot)
    return [mode.name for mode in found]


def test_the_way_through_the_modes(tmp_path: Path) -> None:
    for name in ("eng-spa", "es-pt", "es-pt_BR", "en-gl", "gl-pt", "gl-pt-latin1", "eng-cat", "cat-por_BR", "fr-es"):
        mode(tmp_path, name)
    assert names(tmp_path, "en", "pt", "BR") == ["eng-spa", "es-pt_BR"]
    assert names(tmp_path, "en", "pt", "PT") == ["en-gl", "gl-pt"]
    assert names(tmp_path, "en", "pt", "BR", pivot="cat") == ["eng-cat", "cat-por_BR"]
    assert names(tmp_path, "en", "pt", "PT", pivot="es") == ["eng-spa", "es-pt"]
    assert names(tmp_path, "en", "ca", "") == ["eng-cat"]
    assert names(tmp_path, "fr", "pt", "PT") == ["fr-es", "es-pt"]
    with pytest.raises(UserError, match="over gl"):
        names(tmp_path, "en", "pt", "BR", pivot="gl")
    with pytest.raises(UserError, match="pt_AO"):
        names(tmp_path, "en", "pt", "AO")


def test_no_way_names_the_packages(tmp_path: Path) -> None:
    options = apertium.Options(modes=str(tmp_path))
    with pytest.raises(UserError, match="apt-get install apertium apertium-eng-spa apertium-es-pt"):
        apertium.open(options, "en", "pt")
    with pytest.raises(UserError, match="apt-get install apertium apertium-en-gl apertium-pt-gl"):
        apertium.open(options, "en", "pt-PT")
    with pytest.raises(UserError, match="Vietnamese"):
        apertium.open(options, "en", "vi")


def test_a_mode_as_programs(tmp_path: Path) -> None:
    data = tmp_path / "a b.bin"
    data.write_text("")
    mode(tmp_path, "en-gl", f"cat -g $2 '{data}' | sh $1 -b '{data}'")
    (found,) = modes.installed(tmp_path)
    assert found.programs() == [["cat", "-z", "-g", str(data)], ["sh", "-z", "-n", "-b", str(data)]]
    data.unlink()
    with pytest.raises(UserError, match=r"a b\.bin"):
        found.programs()
    mode(tmp_path, "en-gl", "no-such-program | cat")
    with pytest.raises(UserError, match="no-such-program"):
        found.programs()


def test_only_programs_known_to_forget_are_called_deterministic() -> None:
    tagger = ["apertium-tagger", "-z", "-g", "x"]
    assert modes.forgetful([["lt-proc", "-z"], tagger])
    assert not modes.forgetful([["cg-proc", "-z"], tagger])
    assert not modes.forgetful([["apertium-tagger", "-z", "-x", "y"]])
    assert modes.watched(tagger)[-5:] == ["apertium-tagger", "-d", "-z", "-g", "x"]
    assert modes.watched(["lt-proc", "-z"]) == ["lt-proc", "-z"]
