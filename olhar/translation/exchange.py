"""Sentences out to people and their corrections back: CSV, Argilla, Label Studio.

The name of a file says its form: ``.csv``, ``.argilla.json``, ``.labelstudio.json``. Each row carries the key under
which its sentence is cached, so that what comes back finds its place whatever was sorted, filtered or deleted on
the way. A row is a correction when its target differs from what was exported.

CSV: UTF-8; a text that a spreadsheet would run as a formula gets an apostrophe in front, which is taken off again.
Argilla 2: ``rg.Dataset.records.from_json`` reads what is written here, ``to_json`` writes what is read here; its data
set needs text fields ``source`` and ``context`` and a text question ``target``.
Label Studio 1: tasks with a prediction; beside them ``….labelstudio.xml``, the labelling configuration. Read back is
what it exports as JSON.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from olhar.core.errors import UserError
from olhar.core.store import disk_errors, writing
from olhar.sources._json_rows import rows as json_rows

Form = Literal["csv", "argilla", "labelstudio"]
ENDINGS: Mapping[str, Form] = {".csv": "csv", ".argilla.json": "argilla", ".labelstudio.json": "labelstudio"}
CONTEXT = 2000  # characters; a spreadsheet's cell holds 32,767
EXPORTED = "exported"  # the target as it went out
COLUMNS = ("problems", "source", "target", "who", "when", "context", "record", "place", "policy", "method")
ANCHORS = (EXPORTED, "segment", "key")  # at the end of a row; not for people to change

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n＝＋－＠]")
DELIMITERS = ",;\t"  # as spreadsheets write them, by country
_NOBODY = (None, "", "None")


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence as people get it. ``target`` is "" where it was left in the source language; ``context`` is the
    text it stands in, ``record`` and ``place`` say where. ``segment`` is the source as JSON text, kept spans apart."""

    key: str
    segment: str
    source: str
    target: str
    context: str
    record: str
    place: str
    policy: str
    method: str
    problems: tuple[str, ...]
    engine: str


@dataclass(frozen=True, slots=True)
class Returned:
    """One row that came back. ``number``: its place in the file, from 1. ``who`` and ``when`` as the file gives them.
    ``problem``: why the row cannot be read."""

    number: int
    key: str = ""
    segment: str = ""
    target: str = ""
    exported: str = ""
    who: str | None = None
    when: str | None = None
    problem: str | None = None

    @property
    def changed(self) -> bool:
        """Whether a person wrote something else than what was exported."""
        return self.target != self.exported


def form_of(path: Path) -> Form:
    """The form that the file's name asks for. Raises ``UserError`` for any other name."""
    for ending, form in ENDINGS.items():
        if path.name.endswith(ending):
            return form
    raise UserError("the name does not say the form", str(path), f"let it end in one of {', '.join(ENDINGS)}")


def export(path: Path, rows: Iterable[Row], byte_order_mark: bool = False) -> int:
    """Write the rows, one after the other, in the form that the file's name asks for; how many there were.

    byte_order_mark: of a CSV file; spreadsheets of Microsoft recognise UTF-8 by it.
    Raises ``UserError`` for an unknown name, ``DiskError`` where the disk refuses.
    """
    form = form_of(path)
    with writing(path) as handle, disk_errors(path):
        if form == "csv":
            handle.write("\ufeff" if byte_order_mark else "")
            return _write_csv(handle, rows)
        count = _write_array(handle, map(_argilla_record if form == "argilla" else _task, rows))
    if form == "labelstudio":
        with writing(path.with_name(path.name.removesuffix(".json") + ".xml")) as handle:
            handle.write(LABELLING)
    return count


def returned(path: Path) -> Iterator[Returned]:
    """Every row of a file that people worked on. Raises ``UserError`` for a file that is not of its form at all."""
    form = form_of(path)
    if not path.exists():
        raise UserError("there is no such file", str(path), "check the path")
    if form == "csv":
        yield from _read_csv(path)
        return
    read: Callable[[int, Any], Iterator[Returned]] = _of_argilla if form == "argilla" else _of_task
    for row in json_rows(path):
        try:
            yield from [Returned(row.number, problem=row.problem)] if row.problem else read(row.number, row.value)
        except (AttributeError, KeyError, TypeError, IndexError):
            yield Returned(row.number, problem=f"not a row that was exported from here as {form}")


# --- CSV


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet runs; ``unguarded`` gives every text back as it was."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def _write_csv(handle: IO[str], rows: Iterable[Row]) -> int:
    writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
    writer.writerow((*COLUMNS, *ANCHORS))
    count = 0
    for row in rows:
        cells = {name: getattr(row, name, "") for name in COLUMNS} | _anchors(row)
        cells |= {"problems": "; ".join(row.problems), "context": _shortened(row.context)}
        writer.writerow(guarded(cell) for cell in cells.values())
        count += 1
    return count


def _read_csv(path: Path) -> Iterator[Returned]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            yield from _csv_rows(handle, path)
    except UnicodeDecodeError as error:
        raise UserError(
            f"the file is not UTF-8 ({error.reason} at byte {error.start:,})",
            str(path),
            'save it as "CSV UTF-8": in another encoding letters are lost',
        ) from error
    except csv.Error as error:
        raise UserError(f"this is not CSV: {error}", str(path), "save it again from the spreadsheet") from error


def _csv_rows(handle: IO[str], path: Path) -> Iterator[Returned]:
    first = handle.readline()
    titles = {
        mark: [unguarded(title) for title in next(csv.reader([first], delimiter=mark), [])] for mark in DELIMITERS
    }
    mark = next((mark for mark, names in titles.items() if {"target", *ANCHORS} <= set(names)), None)
    if mark is None:
        wanted = ", ".join(("target", *ANCHORS))
        raise UserError(f"the first row does not name the columns {wanted}", str(path), "keep all columns as exported")
    names = titles[mark]
    for number, cells in enumerate(csv.reader(handle, delimiter=mark), start=2):
        if not any(cells):
            continue
        if len(cells) != len(names):
            yield Returned(number, problem=f"{len(cells)} cells under {len(names)} titles")
            continue
        row = {name: unguarded(cell) for name, cell in zip(names, cells, strict=True)}
        yield _returned(number, row, row["target"], row.get("who"), row.get("when"))


# --- Argilla


def _argilla_record(row: Row) -> dict[str, Any]:
    suggestion = {"target": {"value": row.target, "score": None, "agent": row.engine}} if row.target else {}
    return {
        "id": row.key,
        "fields": {"source": row.source, "context": _shortened(row.context)},
        "metadata": _metadata(row) | _anchors(row),
        "suggestions": suggestion,
        "responses": {},
        "vectors": {},
    }


def _of_argilla(number: int, record: Any) -> Iterator[Returned]:
    """A record without a response is not answered yet: its target stands as it was exported."""
    anchors = record["metadata"]
    given = (record.get("responses") or {}).get("target") or []
    answers = [answer for answer in given if answer["value"] is not None]
    if not answers:
        yield _returned(number, anchors, anchors[EXPORTED])
    for answer in answers:
        yield _returned(number, anchors, answer["value"], answer.get("user_id"))


# --- Label Studio

LABELLING = """<View>
  <Header value="Source"/>
  <Text name="source" value="$source"/>
  <Header value="Target"/>
  <TextArea name="target" toName="source" rows="3" editable="true" maxSubmissions="1" required="true"/>
  <Header value="Problems" size="6"/>
  <Text name="problems" value="$problems" granularity="paragraph"/>
  <Header value="Context" size="6"/>
  <Text name="context" value="$context" granularity="paragraph"/>
</View>
"""


def _task(row: Row) -> dict[str, Any]:
    data = {"source": row.source, "context": _shortened(row.context), **_metadata(row), **_anchors(row)}
    area = {"id": "target", "from_name": "target", "to_name": "source", "type": "textarea"}
    result = [area | {"value": {"text": [row.target]}}] if row.target else []
    predictions = [{"model_version": row.engine, "result": result}] if result else []
    return {"data": data | {"problems": "; ".join(row.problems)}, "predictions": predictions}


def _of_task(number: int, task: Any) -> Iterator[Returned]:
    """A task without an annotation, or one that was skipped, stands as it was exported."""
    anchors = task["data"]
    answers = [made for made in task.get("annotations") or [] if not made.get("was_cancelled")]
    if not answers:
        yield _returned(number, anchors, anchors[EXPORTED])
    for made in answers:
        by = made.get("completed_by")
        who = by.get("email") if isinstance(by, Mapping) else by
        yield _returned(number, anchors, _area(made["result"]), who, made.get("updated_at"))


def _area(results: list[Any]) -> str:
    """What stands in the text area; "" where a person emptied it."""
    texts = [result["value"]["text"] for result in results if result["from_name"] == "target"]
    return "" if not texts else texts[0] if isinstance(texts[0], str) else "\n".join(texts[0])


# --- common


def _anchors(row: Row) -> dict[str, str]:
    return {EXPORTED: row.target, "segment": row.segment, "key": row.key}


def _returned(number: int, anchors: Mapping[str, Any], target: str, who: Any = None, when: Any = None) -> Returned:
    """Raises ``KeyError`` or ``TypeError`` where the anchors are gone."""
    texts = (anchors["key"], anchors["segment"], target, anchors[EXPORTED])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not text")
    told = [None if value in _NOBODY else str(value) for value in (who, when)]
    return Returned(number, *texts, *told)


def _write_array(handle: IO[str], values: Iterable[Any]) -> int:
    count = 0
    for count, value in enumerate(values, start=1):
        handle.write("[\n" if count == 1 else ",\n")
        handle.write(json.dumps(value, ensure_ascii=False))
    handle.write("\n]\n" if count else "[]\n")
    return count


def _metadata(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"record": row.record, "place": row.place, "policy": row.policy, "method": row.method}
    return told | {"problems": list(row.problems)}


def _shortened(text: str) -> str:
    return text if len(text) <= CONTEXT else text[: CONTEXT - 1] + "…"
