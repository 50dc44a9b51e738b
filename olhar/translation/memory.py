"""The cache as a file for others, and people's corrections from one: JSON lines, TMX 1.4b."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from olhar import __version__
from olhar.core.errors import UserError
from olhar.core.store import disk_errors, writing
from olhar.sources._json_rows import rows
from olhar.translation.cache import Cache, Correction, correction_key
from olhar.translation.wording import segment_from_json, segment_from_value, segment_to_json
from olhar.translators import Kept, Segment

PERSON = "person"  # stands where an engine's name would
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def export_jsonl(cache: Cache, path: Path) -> int:
    """A line for each segment: what people made first, then what engines made or could not make; how many lines.

    A segment is a list of strings and of one-string lists, which are kept spans.
    """
    count = 0
    with writing(path) as handle, disk_errors(path):
        for line in _lines(cache):
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count


def import_jsonl(cache: Cache, path: Path) -> int:
    """Take people's corrections from lines as ``export_jsonl`` writes them: ``source``, ``target``, ``segment``,
    ``translation``, and ``who``, ``when``, ``note`` where they are known; lines of engines are passed over. How many.

    Raises ``UserError`` for a line that cannot be read; then nothing at all is taken.
    """
    return cache.correct(_corrections(path))


def export_tmx(cache: Cache, path: Path, source: str, target: str) -> tuple[int, int]:
    """A translation memory for translators' tools: units written, and units left out because XML cannot hold them.

    Kept spans are ``<ph>``. Where people corrected a segment, theirs is the only translation given.
    """
    written = left_out = 0
    about = f'creationtool="olhar" creationtoolversion={quoteattr(__version__)} segtype="sentence" adminlang="en"'
    with writing(path) as handle, disk_errors(path):
        handle.write('<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4">\n')
        handle.write(f'<header {about} o-tmf="olhar" datatype="plaintext" srclang={quoteattr(source)}/>\n<body>\n')
        for text, translation, made_by in _pairs(cache, source, target):
            unit = _unit(source, segment_from_json(text), target, translation, made_by)
            if _NOT_IN_XML.search(unit):
                left_out += 1
            else:
                handle.write(unit)
                written += 1
        handle.write("</body>\n</tmx>\n")
    return written, left_out


def _lines(cache: Cache) -> Iterator[dict[str, Any]]:
    for correction in cache.all_corrections():
        yield {
            "engine": PERSON,
            "key": correction.key.hex(),
            "source": correction.source,
            "target": correction.target,
            "segment": json.loads(correction.segment) if correction.segment is not None else None,
            "translation": json.loads(segment_to_json(correction.translation)),
            "who": correction.who,
            "when": correction.when,
            "note": correction.note,
        }
    for direction, text, entry in cache.entries():
        yield {
            "engine": direction.engine,
            "version": direction.version,
            "licence": direction.licence,
            "source": direction.source,
            "target": direction.target,
            "segment": json.loads(text),
            "translation": json.loads(segment_to_json(entry.translation)) if entry.translation is not None else None,
            "failure": entry.failure,
        }


def _corrections(path: Path) -> Iterator[Correction]:
    for row in rows(path):
        line = row.value
        if isinstance(line, dict) and line.get("engine", PERSON) != PERSON:
            continue
        correction = None
        with suppress(KeyError, TypeError, ValueError):
            correction = _correction(line)
        if correction is None:
            why = row.problem or "a correction has source, target (language codes), segment and translation"
            raise UserError(f"row {row.number} is no correction: {why}", str(path), "mend that row; nothing was taken")
        yield correction


def _correction(line: Any) -> Correction:
    if not isinstance(line, dict):
        raise TypeError("a correction is an object")
    told = {name: str(line.get(name) or "") for name in ("who", "when", "note")}
    translation = segment_from_value(line["translation"])
    if line.get("segment") is None and "key" in line:  # it came back under its key alone
        return Correction(bytes.fromhex(line["key"]), translation, **told)
    source, target = line["source"], line["target"]
    if not isinstance(source, str) or not isinstance(target, str):
        raise TypeError("a language code is a string")
    text = segment_to_json(segment_from_value(line["segment"]))
    key = correction_key(source, target, text)
    return Correction(key, translation, **told, source=source, target=target, segment=text)


def _pairs(cache: Cache, source: str, target: str) -> Iterator[tuple[str, Segment, str]]:
    """Segment as JSON text, translation, and who made it."""
    for correction in cache.all_corrections():
        if (correction.source, correction.target) == (source, target) and correction.segment is not None:
            yield correction.segment, correction.translation, correction.who or PERSON
    for direction, text, entry in cache.entries():
        if (direction.source, direction.target) == (source, target) and entry.translation is not None:
            key = direction.correction_key(text)
            if not cache.corrections([key]):
                yield text, entry.translation, f"{direction.engine} {direction.version}"


def _unit(source: str, segment: Segment, target: str, translation: Segment, made_by: str) -> str:
    return (
        f"<tu creationid={quoteattr(made_by)}>"
        f"<tuv xml:lang={quoteattr(source)}><seg>{_marked(segment)}</seg></tuv>"
        f"<tuv xml:lang={quoteattr(target)}><seg>{_marked(translation)}</seg></tuv></tu>\n"
    )


def _marked(segment: Segment) -> str:
    number = 0
    marked = []
    for part in segment:
        if isinstance(part, Kept):
            number += 1
            marked.append(f'<ph x="{number}">{escape(part.text)}</ph>')
        else:
            marked.append(escape(part))
    return "".join(marked)
