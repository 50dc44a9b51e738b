"""A mixture of InternVL (Chen et al. 2024, arXiv:2412.05271): a JSON of data sets, each a folder and a ``.jsonl``.

``{name: {root, annotation, repeat_time, max_dynamic_patch, data_augment, length}}``. Records are LLaVA's
(``olhar.sources.llava``); ``<image>`` or ``<video>`` leads the first question where it is missing and there is one
file. ``repeat_time`` below 1 takes the first rows, a whole number above 1 repeats all. Ids get the data set's name in
front, and a row without an id its number: InternVL needs none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.core.types import Finding, ImageRef, Sample, Turn, VideoRef
from olhar.sources import Request, SourceOptions, _llava_records, _shares
from olhar.sources._json_rows import rows
from olhar.sources._llava_records import Ids, Records, file_of, folder_of
from olhar.sources._llava_turns import Folders, turns_of

NAME = "internvl"
NEEDS_PATH = True
ADVICE: Mapping[str, str] = {
    **_llava_records.ADVICE,
    "tiles not set": "tiles are a stage's, not a data set's: see the message for what to write into the recipe",
    "no augmentation": "nothing to do; its pictures are learned from as they are, without random recompression",
    "length not true": "nothing to do if the file was changed since; else fetch it again",
}
KNOWN = {"root", "annotation", "data_augment", "repeat_time", "length", "max_dynamic_patch"}


class Options(SourceOptions):
    """``files``: the folder that relative ``root`` and ``annotation`` start from; default: that of the JSON file."""

    files: str | None = None


@dataclass(frozen=True, slots=True)
class _Set:
    """One data set of the mixture."""

    name: str
    file: Path
    root: str
    repeat: float
    said: Mapping[str, Any]


def read(request: Request) -> Iterator[Sample | Finding]:
    """Samples and findings, data set by data set.

    Raises ``UserError`` when the JSON, or a file or folder that it names, is not there or not of this form.
    """
    path = file_of(request.path, request.dataset, NAME, (".json",))
    return _read(_sets(path, cast(Options, request.options)), request)


def count(request: Request) -> int | None:
    """None: only reading all files would tell."""
    return None


def files(path: Path, options: SourceOptions) -> list[Path]:
    """The annotations that the table names."""
    return [one.file for one in _sets(path, cast(Options, options))]


def _sets(path: Path, options: Options) -> list[_Set]:
    folder, tree = Path(folder_of(options.files, "files", path)), read_json(path)
    if not isinstance(tree, dict) or not tree:
        raise UserError("this is no table of data sets", str(path), "write {name: {root: ..., annotation: ...}, ...}")
    return [_set(name, row, folder, f"{path}: {name}") for name, row in tree.items()]


def _set(name: str, row: Any, folder: Path, where: str) -> _Set:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("root", "annotation")):
        raise UserError("a data set has no root and annotation", where, "name its folder of media and its .jsonl")
    if unknown := sorted(row.keys() - KNOWN):
        raise UserError(f"unknown key {unknown[0]!r}", where, f"remove it; known are {', '.join(sorted(KNOWN))}")
    file, repeat = folder / row["annotation"], row.get("repeat_time", 1)
    if file.suffix != ".jsonl" or not file.is_file():
        raise UserError(f"{file} is no .jsonl that is there", where, "correct annotation")
    if not isinstance(repeat, int | float) or repeat <= 0 or (repeat > 1 and repeat != int(repeat)):
        raise UserError(f"repeat_time is {repeat!r}", where, "write a share below 1, or a whole number")
    return _Set(name, file, folder_of(str(folder / row["root"]), "media", file), repeat, row)


def _read(sets: list[_Set], request: Request) -> Iterator[Sample | Finding]:
    ids = Ids("number")
    for one in sets:
        folders = Folders(image=one.root, video=one.root)
        records = Records(
            one.file,
            NAME,
            request.language,
            request.dataset,
            folders,
            ids,
            prefix=f"{one.name}/",
            turns=_turns,
            said={"set": one.name},
            place=f"{one.name}: ",
            numbered=True,
        )
        yield from _unheard(one, records)
        wanted = _shares.first_share(one.repeat, one.file) if one.repeat < 1 else _shares.every
        for _ in range(max(int(one.repeat), 1)):
            yield from records.read(wanted)


def _unheard(one: _Set, records: Records) -> Iterator[Finding]:
    """What the table says and this source cannot do."""
    if one.said.get("max_dynamic_patch") is not None:
        tiles = one.said["max_dynamic_patch"]
        message = (
            f"tiles not set: to follow max_dynamic_patch {tiles}, move {one.name} into a table, an [[ingest]] and a "
            f"[[mix]] of its own, and write image = {{ max_tiles = {tiles} }} into a [[train.stages]] of that mixture"
        )
        yield records.finding(one.name, "warning", message)
    if one.said.get("data_augment"):
        yield records.finding(one.name, "warning", "no augmentation: data_augment is not followed")
    if (length := one.said.get("length")) is not None:
        there = sum(1 for _ in rows(one.file))
        if there != length:
            yield records.finding(one.name, "warning", f"length not true: {length} rows are said, {there} are there")


def _turns(record: Mapping[str, Any], folders: Folders, meta: dict[str, Any]) -> tuple[Turn, ...]:
    """The record's turns; the one file of a record whose text has no mark leads its first question."""
    turns = turns_of(record, folders, meta)
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), None)
    unplaced = meta.get("unplaced", ())
    if len(unplaced) != 1 or first is None or any(turn.media for turn in turns):
        return turns
    del meta["unplaced"]
    kind = VideoRef if record.get("video") or record.get("videos") else ImageRef
    leading = replace(turns[first], parts=(kind(unplaced[0]), *turns[first].parts))
    return (*turns[:first], leading, *turns[first + 1 :])
