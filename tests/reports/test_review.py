"""The review page: it stands alone, shows what it should, and writes each language as that language is written."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from olhar.languages import language
from olhar.reports.review import LINES, RIGHT_TO_LEFT, alarms, html, verdict, write_page
from olhar.translation.cache import Direction
from olhar.translation.passages import Line, Passage, Remark, marked
from olhar.translation.policies import Policies, Policy
from olhar.translation.review import Review, Tally
from olhar.translation.translated import Translated
from olhar.translators import About, Kept, Segment

KEY = "ab" * 32


def line(
    source: Segment = ("The dog.",), target: Segment | None = ("O cão.",), method: Any = "engine", **more: Any
) -> Line:
    return Line(*marked(source, target), method, more.pop("key", KEY), more.pop("segment", '["The dog."]'), **more)


def passage(*lines: Line, row: int = 1, remarks: tuple[Remark, ...] = (), **more: Any) -> Passage:
    given = {"record": f"{row:04}", "place": "turn 2", "role": "answer", "policy": "gqa"} | more
    return Passage(row=row, lines=lines or (line(),), remarks=remarks, **given)


def made(*passages: Passage, sample: tuple[Passage, ...] = (), engine: About | None = None, **more: Any) -> Review:
    about = engine or About("apertium", "3.8.3", "GPL-2.0-or-later")
    direction = Direction(about.name, about.version, about.licence, "en", more.pop("code", "pt-BR"))
    counts = {"unique segments": 100, "segments asked for": 30}
    translated = Translated(
        *(Path("data.pt.json"), Path("data.json"), Path("cache.sqlite"), about, direction, True),
        *(Policies(default=Policy(quotes="both")), None, {"beam": 4}, more.pop("counts", counts)),
    )
    tally = Tally()
    for each in (*passages, *sample):
        tally.add(each)
    return Review(translated, tally, passages, sample, 7)


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    evil = "</script><script>alert(1)</script> <imagem> &amp; \"'"
    remark = Remark("error", "translation", evil, evil)
    text = line((evil,), (evil,), segment=json.dumps([evil]), reasons=(evil,))
    page = html(made(passage(text, record=evil, policy=evil, place=evil, before=evil, remarks=(remark,))))
    assert page.count("<script>") == 1 and "<script>alert" not in page and "<imagem>" not in page
    assert not re.search(r"""(src|href)=["']?(https?:|//|/)|@import|url\(""", page)
    segment = re.search(r'data-segment="([^"]*)"', page)
    assert segment and json.loads(unescape(segment[1])) == [evil]


def test_source_and_target_stand_side_by_side_in_their_languages() -> None:
    page = html(
        made(passage(line(("See ", Kept("12"), " dogs."), ("Veja ", Kept("12"), " cães 13."), segment='["See"]')))
    )
    assert '<div class="from" lang="en" dir="ltr">See <bdi class="kept"' in page
    target = re.search(
        r'<div class="to" lang="pt-BR" dir="ltr"[^>]*data-exported="([^"]*)"[^>]*>(.*?)</div>', page, re.S
    )
    assert target and target[1] == "Veja 12 cães 13." and f'data-key="{KEY}"' in page
    assert '<bdi class="added" title="not in the original">13</bdi>' in target[2]


@pytest.mark.parametrize(("script", "direction"), [("ARABIC", "rtl"), ("HEBREW", "rtl"), ("HAN", "ltr")])
def test_right_to_left_is_written_so(monkeypatch: pytest.MonkeyPatch, script: str, direction: str) -> None:
    spoken = replace(language("pt"), scripts=frozenset({script}), name="Another", own_name="أخرى")
    monkeypatch.setattr(Translated, "target", property(lambda self: spoken))
    page = html(made(passage(line(("A dog.",), ("كلب 3",)))))
    assert page.count(f'class="to" lang="pt-BR" dir="{direction}"') == 1 and 'class="from" lang="en" dir="ltr"' in page
    assert f'<span lang="pt-BR" dir="{direction}">أخرى</span>' in page
    assert script in RIGHT_TO_LEFT or direction == "ltr"


def test_what_no_engine_saw_cannot_be_corrected() -> None:
    fixed = Line((("text", "Yes"),), (("text", "Sim"),), "table")
    page = html(made(passage(fixed)))
    assert "contenteditable=" not in page and "Sim</div>" in page
    assert 'title="a fixed answer of the language, no engine was asked">table</span>' in page


def test_what_was_left_invites_to_write() -> None:
    page = html(made(passage(line(target=None, method="none", reasons=("refused: no",)))))
    assert 'data-exported=""' in page and 'data-empty="left in English: write the translation here"' in page
    assert '<span class="reason">refused: no</span>' in page and 'data-rank="left"' in page


def test_the_counts_are_of_everything() -> None:
    worst = passage(remarks=(Remark("warning", "length", "too short", "5 of 50"),))
    review = made(worst, *(passage(row=n) for n in range(2, 5)), sample=(passage(row=9, policy="textvqa"),))
    review.tally.texts = 150_000
    page = html(review)
    assert "4 of 150,000 texts, kinds of findings in turn" in page and "1 of 150,000 texts, drawn with seed 7" in page
    assert 'data-check="length: too short"' in page and "look for a sentence that was left out" in page
    for name, count in {"engine": 5, "different sentences": 100, "asked of the engine": 30, "known before": 70}.items():
        assert f"<td>{name}</td><td>{count}</td>" in page
    assert "quotes: both" in page and "answers: keep" in page
    assert "<dt>beam</dt><dd>4</dd>" in page and "GPL-2.0-or-later" in page
    assert not alarms(review)


def test_a_licence_or_a_service_that_forbids_is_told() -> None:
    review = made(passage(stale=True), engine=About("nllb", "1", "CC-BY-NC-4.0", non_commercial=True, official=False))
    assert [what for what, _ in alarms(review)] == [
        "Non-commercial licence: CC-BY-NC-4.0.",
        "Unofficial engine.",
        "Corrected since.",
    ]
    assert html(review).count('role="alert"') == 3


def test_the_verdict_says_the_outcome_in_a_line() -> None:
    left = passage(line(target=None, method="none"))
    warned = passage(remarks=(Remark("warning", "length", "too long"),))
    assert verdict(made()) == "There is nothing to look at: the file holds no text."
    assert verdict(made(passage())) == (
        "1 sentence in 1 text. Nothing was left in English; no check has anything more to say."
    )
    assert verdict(made(left, warned, passage(row=3))) == (
        "3 sentences in 3 texts. In 1 text something was left in English; findings on 1 text besides."
    )


def test_a_very_long_text_is_cut_and_says_so() -> None:
    page = html(made(passage(*(line(key=f"{n:064x}") for n in range(LINES + 3)))))
    assert page.count("data-key=") == LINES
    assert "3 further sentences of this text not shown" in page


def test_a_page_without_counts_or_texts_is_still_a_page(tmp_path: Path) -> None:
    write_page(made(counts={}), tmp_path / "review.html")
    page = (tmp_path / "review.html").read_text()
    assert "Nothing here. Go on." in page and "different sentences" not in page
