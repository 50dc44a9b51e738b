"""A mixture of LLaVA-OneVision (Li et al. 2024, arXiv:2408.03326): a YAML of files and how much of each is taken.

``datasets: [{json_path, sampling_strategy}]``; the files are LLaVA's (``olhar.sources.llava``), several of one entry
as ``{a,b}``. Ids get their file's name in front, ``meta["set"]`` holds it too.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from olhar.core.errors import UserError
from olhar.core.types import Finding, Sample, Turn
from olhar.sources import Request, SourceOptions, _llava_records, _shares
from olhar.sources._llava_records import Ids, Records, Repeated, file_of, folders_of
from olhar.sources._llava_turns import Folders, turns_of

NAME = "onevision"
NEEDS_PATH = True
ADVICE = _llava_records.ADVICE
YAML = (".yaml", ".yml")
NOISE = "QA_GT_caption_based_noisy"  # left in the published files; their own trainer takes it out
_BRACES = re.compile(r"\{([^{}]*)\}")


class Options(SourceOptions):
    """As those of ``llava``; ``files``: the folder that ``json_path`` starts from (default: the YAML's own), and
    ``seed`` (default the recipe's) of ``random:N``."""

    files: str | None = None
    images: str | None = None
    videos: str | None = None
    repeated_ids: Repeated = "reject"
    seed: int = 0


def read(request: Request) -> Iterator[Sample | Finding]:
    """Samples and findings, entry by entry.

    Raises ``UserError`` when the YAML or one of its files is not there or not of this form.
    """
    path, options = file_of(request.path, request.dataset, NAME, YAML), cast(Options, request.options)
    folders = folders_of(options.images, options.videos, path)
    entries = _listed(path, options)
    if missing := [file for file, _ in entries if not file.is_file()]:
        told = ", ".join(str(file) for file in missing[:3])
        raise UserError(f"{len(missing)} of {len(entries)} files are not there: {told}", str(path), "fetch them")
    return _read(path, entries, request, folders)


def count(request: Request) -> int | None:
    """None: only reading all files would tell."""
    return None


def files(path: Path, options: SourceOptions) -> list[Path]:
    """The files that the YAML names."""
    return [file for file, _ in _listed(path, cast(Options, options))]


def _listed(path: Path, options: Options) -> list[tuple[Path, str]]:
    return list(_entries(path, Path(options.files) if options.files else path.parent))


def _read(
    path: Path, entries: list[tuple[Path, str]], request: Request, folders: Folders
) -> Iterator[Sample | Finding]:
    options = cast(Options, request.options)
    ids, names = Ids(options.repeated_ids), _names([file for file, _ in entries])
    for (file, strategy), name in zip(entries, names, strict=True):
        wanted = _shares.by_strategy(strategy, file, options.seed, f"{path}: {file.name}")
        yield from Records(
            file,
            NAME,
            request.language,
            request.dataset,
            folders,
            ids,
            prefix=f"{name}/",
            turns=_turns,
            said={"set": name},
            place=f"{file.name}: ",
        ).read(wanted)


def _entries(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file and its strategy, in order."""
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"this is not YAML: {error}", str(path), "mend that line") from error
    entries = tree.get("datasets") if isinstance(tree, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError("there is no list of datasets", str(path), "write datasets: [{json_path: ...}]")
    for number, entry in enumerate(entries):
        given = entry.get("json_path") if isinstance(entry, dict) else None
        if not isinstance(given, str):
            raise UserError("an entry has no json_path", f"{path}: datasets[{number}]", "name its file")
        for name in _spread(given):
            yield folder / name, str(entry.get("sampling_strategy") or "all")


def _spread(name: str) -> list[str]:
    """``x/{a,b}.json`` -> ``x/a.json``, ``x/b.json``."""
    braces = _BRACES.search(name)
    if braces is None:
        return [name]
    return [f"{name[: braces.start()]}{one.strip()}{name[braces.end() :]}" for one in braces[1].split(",")]


def _names(files: list[Path]) -> list[str]:
    """A name for each file, its own without the ending; of equal ones, the later get numbers."""
    used: dict[str, int] = {}
    names = []
    for file in files:
        used[file.stem] = used.get(file.stem, 0) + 1
        names.append(file.stem if used[file.stem] == 1 else f"{file.stem}-{used[file.stem]}")
    return names


def _turns(record: Mapping[str, Any], folders: Folders, meta: dict[str, Any]) -> tuple[Turn, ...]:
    """The record's turns without what the published files left in them."""
    turns = turns_of(record, folders, meta)
    if not any(NOISE in turn.text for turn in turns):
        return turns
    meta["noise_removed"] = True
    return tuple(
        Turn(
            turn.role, tuple(part.replace(NOISE, "").strip() if isinstance(part, str) else part for part in turn.parts)
        )
        for turn in turns
    )
