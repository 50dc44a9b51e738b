"""What every engine must keep, asked of every file of the folder.

``tests/translators/engines/<name>.py`` says how to open an engine for a test: ``opened(folder)`` gives a translator
from English to Portuguese, or a context manager of one where a server must run meanwhile. It skips with the reason
where something is not installed.
"""

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from olhar.core.choices import choose, names
from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment, Translator

ENGINES = names("translators")
OWN = Path(__file__).with_name("engines")
TEXTS = ("A man is riding a horse.", "There are two dogs", "What is the woman holding?", "The sky")
KEPT: Segment = ("The sign says ", Kept('"STOP"'), " and there are ", Kept("3"), " cars.")


@pytest.fixture(scope="module", params=ENGINES)
def translator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    if not (OWN / f"{request.param}.py").exists():
        pytest.skip(f"tests/translators/engines/{request.param}.py does not say how to open {request.param}")
    opener = importlib.import_module(f"tests.translators.engines.{request.param}")
    try:
        opened = opener.opened(tmp_path_factory.mktemp(request.param))
    except UserError as error:
        pytest.skip(f"{request.param} is not there: {error.what}")
    with opened if isinstance(opened, AbstractContextManager) else nullcontext(opened) as translator:
        yield translator
        translator.close()
        translator.close()


def segments(number: int) -> list[Segment]:
    return [(f"{TEXTS[place % len(TEXTS)]}",) for place in range(number)]


def test_as_many_as_went_in_each_a_segment_or_a_failure(translator: Translator) -> None:
    for number in (0, 1, 7):
        results = translator.translate(segments(number))
        assert len(results) == number
        for result in results:
            assert isinstance(result, Failure) or all(isinstance(part, str | Kept) and part for part in result)


def test_the_order_is_that_of_the_question(translator: Translator) -> None:
    there = translator.translate(segments(len(TEXTS)))
    back = translator.translate(segments(len(TEXTS))[::-1])
    assert back[::-1] == there
    alone = [translator.translate([segment])[0] for segment in segments(len(TEXTS))]
    assert alone == there
    assert len({str(result) for result in there}) > 1, "every sentence came back the same: order is not tested"


def test_the_same_twice_is_the_same_twice(translator: Translator) -> None:
    first, second = translator.translate([(TEXTS[0],), (TEXTS[0],)])
    assert first == second


def test_what_is_kept_comes_back_or_is_not_promised(translator: Translator) -> None:
    if not translator.keeps:
        return
    (result,) = translator.translate([KEPT])
    assert not isinstance(result, Failure)
    kept = [part for part in result if isinstance(part, Kept)]
    assert kept == [part for part in KEPT if isinstance(part, Kept)]
    assert "".join(part for part in result if isinstance(part, str)).strip()


def test_no_white_space_is_added_around(translator: Translator) -> None:
    for text in TEXTS:
        (result,) = translator.translate([(text,)])
        if not isinstance(result, Failure):
            whole = "".join(part for part in result if isinstance(part, str))
            assert whole == whole.strip() and "  " not in whole


def test_it_says_who_it_is(translator: Translator) -> None:
    about, limits = translator.about, translator.limits
    assert about.name in ENGINES and about.version and about.licence
    assert limits.segments >= 1 and limits.concurrent >= 1 and limits.price >= 0


@pytest.mark.parametrize("name", ENGINES)
def test_options_refuse_what_they_do_not_know(name: str) -> None:
    options = choose("translators", name).Options
    given = {field: "x" for field, about in options.model_fields.items() if about.is_required()}
    with pytest.raises(ValidationError, match="no_such_option"):
        options(**given, no_such_option=1)
    assert options.model_config["frozen"]
