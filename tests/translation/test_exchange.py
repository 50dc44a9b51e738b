"""Rows out and corrections back, in three forms: exact, in any order, with nothing run by a spreadsheet."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.translation import exchange
from olhar.translation.exchange import ENDINGS, Returned, Row, export, guarded, returned, unguarded


def row(number: int = 1, source: str = "A dog.", target: str = "Um cão.", **changes: Any) -> Row:
    given = {"context": f"{source} More.", "record": "0001", "place": "turn 2, answer", "policy": "default"}
    given |= {"method": "engine", "problems": ("length",), "engine": "apertium 3.8.3"}
    return Row(f"{number:064x}", json.dumps([source]), source, target, **(given | changes))


ODD = [
    "=1+1",
    "+55 11",
    "-x",
    "@a",
    "\t=a",
    "'=a",
    "''-",
    "'Olá'",
    " =x",
    "a;b,c",
    'say "hi"',
    "linha\nduas",
    "\r\n",
    "＝1",
]
ODD += ["שלום", "مرحبا 3", "你好，世界", "Não", "", "\ufeffx", "0012", "e\u0301", "\u2028", "None"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_goes_out_unchanged_comes_back_unchanged(tmp_path: Path, ending: str) -> None:
    rows = [row(number, text or "a", text) for number, text in enumerate(ODD)]
    path = tmp_path / f"review{ending}"
    assert export(path, iter(rows)) == len(rows)
    back = list(returned(path))
    assert [(b.key, b.segment, b.target) for b in back] == [(r.key, r.segment, r.target) for r in rows]
    assert not any(b.changed or b.problem for b in back)


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_to_show_is_still_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"review{ending}"
    assert export(path, []) == 0
    assert list(returned(path)) == []


@given(st.text(alphabet=st.sampled_from("'=+-@ \t\r\nab＝")))
def test_a_guarded_cell_is_no_formula_and_gives_the_text_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell.lstrip().startswith(tuple("=+-@＝＋－＠"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5))
def test_any_text_survives_a_csv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    export(path, [row(number, target=text) for number, text in enumerate(texts)])
    assert [back.target for back in returned(path)] == texts


def test_the_byte_order_mark_is_an_option(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for mark in (True, False):
        export(path, [row()], byte_order_mark=mark)
        assert path.read_bytes().startswith(b"\xef\xbb\xbf") == mark
        assert [back.target for back in returned(path)] == ["Um cão."]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_saved_again_by_a_spreadsheet_is_read(tmp_path: Path, delimiter: str) -> None:
    """Other delimiter, other order of columns and rows, a further column, an empty line at the end."""
    path = tmp_path / "a.csv"
    export(path, [row(1), row(2, "=a", "=b")])
    table = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    for line in table:
        line |= {"target": "Um cachorro; sim, um.", "who": "Ana", "when": "2026-11-21", "seen": "x"}
    names = sorted(table[0], reverse=True)
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.DictWriter(handle, names, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(reversed(table))
        handle.write(delimiter * (len(names) - 1) + "\r\n")
    second, first = returned(path)
    assert (first.number, first.key) == (3, row(1).key) and (second.exported, second.changed) == ("=b", True)
    assert (first.target, first.who, first.when) == ("Um cachorro; sim, um.", "Ana", "2026-11-21")


def test_a_csv_that_lost_its_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("key,target\nx,maçã\n".encode("cp1252"))
    with pytest.raises(UserError, match="not UTF-8"):
        list(returned(path))
    path.write_text("source,target\na,b\n")
    with pytest.raises(UserError, match="does not name the columns"):
        list(returned(path))
    export(path, [row()])
    path.write_text(path.read_text() + "only,three,cells\r\n")
    assert [back.problem for back in returned(path)] == [None, "3 cells under 13 titles"]


def test_argilla_reads_suggestions_and_gives_responses(tmp_path: Path) -> None:
    path = tmp_path / "a.argilla.json"
    export(path, [row(1), row(2, target=""), row(3), row(4)])
    records = json.loads(path.read_text())
    assert records[0]["suggestions"] == {"target": {"value": "Um cão.", "score": None, "agent": "apertium 3.8.3"}}
    assert records[1]["suggestions"] == {}
    records[0]["responses"] = {
        "target": [{"value": "Um cachorro.", "user_id": "u1"}, {"value": "B.", "user_id": "None"}]
    }
    records[2]["metadata"] = {}
    records[3]["responses"] = {"target": [{"value": 5, "user_id": "u1"}]}
    path.write_text(json.dumps(records))
    back = list(returned(path))
    assert [(b.number, b.target, b.who, b.changed) for b in back[:3]] == [
        (1, "Um cachorro.", "u1", True),
        (1, "B.", None, True),
        (2, "", None, False),
    ]
    assert [b.problem for b in back[3:]] == ["not a row that was exported from here as argilla"] * 2


def test_label_studio_reads_predictions_and_gives_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.labelstudio.json"
    export(path, [row(number) for number in range(5)] + [row(9, target="")])
    tasks = json.loads(path.read_text())
    (area,) = tasks[0]["predictions"][0]["result"]
    assert area["value"] == {"text": ["Um cão."]} and tasks[5]["predictions"] == []
    layout = (tmp_path / "a.labelstudio.xml").read_text()
    assert f'<TextArea name="{area["from_name"]}" toName="{area["to_name"]}"' in layout

    def annotation(text: str, **more: Any) -> dict[str, Any]:
        result = [area | {"value": {"text": [text]}}] if text else []
        return {"result": result, "completed_by": 7, "was_cancelled": False, "updated_at": "2026-11-21T10:00Z"} | more

    tasks[0]["annotations"] = [annotation("Um cachorro.")]
    tasks[1]["annotations"] = [annotation("x", was_cancelled=True)]
    tasks[2]["annotations"] = [annotation("Um cachorro.", completed_by={"email": "ana@x.org"}), annotation("Outro.")]
    tasks[3]["annotations"] = [annotation("")]
    tasks[4] = {"data": {"text": "of another project"}}
    path.write_text(json.dumps(tasks[:5]))
    assert list(returned(path)) == [
        Returned(1, row(0).key, row(0).segment, "Um cachorro.", "Um cão.", "7", "2026-11-21T10:00Z"),
        Returned(2, row(1).key, row(1).segment, "Um cão.", "Um cão."),
        Returned(3, row(2).key, row(2).segment, "Um cachorro.", "Um cão.", "ana@x.org", "2026-11-21T10:00Z"),
        Returned(3, row(2).key, row(2).segment, "Outro.", "Um cão.", "7", "2026-11-21T10:00Z"),
        Returned(4, row(3).key, row(3).segment, "", "Um cão.", "7", "2026-11-21T10:00Z"),
        Returned(5, problem="not a row that was exported from here as labelstudio"),
    ]


def test_long_texts_fit_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    export(path, [row(context="word " * 20_000)])
    (line,) = csv.DictReader(path.open(encoding="utf-8", newline=""))
    assert len(line["context"]) == exchange.CONTEXT and line["context"].endswith("…")


@pytest.mark.parametrize("name", ["a.json", "a.xlsx", "csv"])
def test_an_unknown_form_lists_the_known(name: str, tmp_path: Path) -> None:
    for ask in (lambda path: export(path, [row()]), lambda path: list(returned(path))):
        with pytest.raises(UserError, match=r"\.csv, \.argilla\.json, \.labelstudio\.json"):
            ask(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        list(returned(tmp_path / "none.csv"))


def test_a_broken_array_is_told_and_what_was_read_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.argilla.json"
    export(path, [row(1), row(2)])
    path.write_bytes(path.read_bytes()[:-40])
    first, second = returned(path)
    assert first.problem is None and second.problem and "ends inside this row" in second.problem
