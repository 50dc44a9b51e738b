"""Foreign data sets become samples: one ``<data>.jsonl`` each; ``<data>.findings`` names rows that were not read."""

import json
from pathlib import Path
from typing import Any

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import DataSet, Recipe
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.store import digest, digest_path, writing
from olhar.core.types import Finding
from olhar.sources import Request
from olhar.stages import Context

NEEDS: tuple[str, ...] = ()


def config(recipe: Recipe) -> dict[str, Any]:
    names = {
        data.name: data.model_dump(mode="json", exclude={"path", "license", "attribution"}) for data in recipe.ingest
    }
    return {"data": names, "language": recipe.language, "seed": recipe.seed}


def outside(recipe: Recipe) -> dict[str, str]:
    return {data.name: digest([digest_path(path) for path in _files(data)]) for data in recipe.ingest if data.path}


def _files(data: DataSet) -> list[Path]:
    """The data set's file, and those that it names."""
    source = choose("sources", data.source)
    assert data.path
    if not hasattr(source, "files"):
        return [data.path]
    return [data.path, *source.files(data.path, source.Options(**data.options))]


def request_for(data: DataSet, recipe: Recipe, media: Path) -> Request:
    """What the source is asked; a source that draws at random gets the recipe's seed unless it has its own."""
    source = choose("sources", data.source)
    options = dict(data.options)
    if "seed" in source.Options.model_fields:
        options.setdefault("seed", recipe.seed)
    return Request(data.path, source.Options(**options), data.language or recipe.language, data.name, media)


def run(context: Context) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for data in context.recipe.ingest:
        counts[data.name] = _ingest(data, context)
    return {"samples": counts}


def _ingest(data: DataSet, context: Context) -> int:
    """Write one data set; a file that an interrupted run completed is kept."""
    target = context.folder / f"{data.name}.jsonl"
    if target.exists():
        return len(SampleFile(target, context.run.path))
    source = choose("sources", data.source)
    request = request_for(data, context.recipe, (context.folder / "media" / data.name).resolve())
    ids: set[str] = set()
    with (
        writing(context.folder / f"{data.name}.findings") as findings,
        writing_samples(target, context.run.path) as samples,
    ):
        for item in context.track(source.read(request), f"read {data.name}", source.count(request)):
            if isinstance(item, Finding):
                findings.write(json.dumps(_finding_row(item), ensure_ascii=False) + "\n")
            elif item.id in ids:
                twice = Finding(item.id, "ingest", "error", "a sample of this id came before")
                findings.write(json.dumps(_finding_row(twice), ensure_ascii=False) + "\n")
            else:
                ids.add(item.id)
                samples.write(item)
    if not samples.count:
        target.unlink()
        raise UserError("no sample could be read", f"data set {data.name!r}", "see its findings: olhar check PATH")
    return samples.count


def _finding_row(finding: Finding) -> dict[str, str]:
    return {
        "sample_id": finding.sample_id,
        "check": finding.check,
        "severity": finding.severity,
        "message": finding.message,
    }
