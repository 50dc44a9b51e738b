"""Every sample is looked at; those with an error go to ``rejected.jsonl``, the rest to ``<data>.jsonl``.

Also written: ``findings.html`` for a person, ``findings.json`` for a program.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from olhar.checks import Check, open_check, usual
from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import Checking, DataSet, Recipe
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.store import write_json, writing
from olhar.core.types import Finding, Sample
from olhar.languages import language
from olhar.reports.findings import FindingsReport
from olhar.sources import Request
from olhar.stages import Context

NEEDS = ("ingest",)
READS = ("translate",)


def config(recipe: Recipe) -> dict[str, Any] | None:
    return {"check": recipe.check.model_dump(mode="json"), "data": [data.name for data in recipe.ingest]}


def outside(recipe: Recipe) -> dict[str, str]:
    return {}


def checks(checking: Checking) -> list[Check]:
    """The checks that a recipe names, with its thresholds, ready to look at a first sample."""
    return [open_check(name, checking.thresholds.get(name)) for name in checking.checks]


def findings(sample: Sample, looking: list[Check], parent: Sample | None = None) -> list[Finding]:
    """What the checks find in a sample; ``parent`` is what it was before translation."""
    spoken = language(sample.language)
    return [finding for check in looking for finding in check(sample, parent, spoken)]


def check_file(
    path: Path, source_name: str, code: str, images: Path | None, track: Callable[..., Iterable[Any]]
) -> FindingsReport:
    """All usual checks on one data file outside any run. Raises ``UserError`` when the source cannot read it at all."""
    source = choose("sources", source_name)
    language(code)
    options = {"images": str(images)} if images else {}
    request = Request(path, source.Options(**options), code, path.stem, path.parent)
    looking, report = checks(Checking(checks=tuple(usual()))), FindingsReport()
    for item in track(source.read(request), f"look at {path.name}", source.count(request)):
        if isinstance(item, Finding):
            report.add_finding(item)
        else:
            report.add(item, findings(item, looking))
    return report


def write_page(report: FindingsReport, path: Path, title: str) -> None:
    with writing(path) as page:
        page.write(report.html(title))


def run(context: Context) -> dict[str, Any]:
    report = FindingsReport()
    counts: dict[str, Any] = {}
    with writing(context.folder / "rejected.jsonl") as rejected:
        for data in context.recipe.ingest:
            for line in _rows(context.run.path / "ingest" / f"{data.name}.findings"):
                report.add_finding(Finding(**line))
                rejected.write(json.dumps(line, ensure_ascii=False) + "\n")
            counts[data.name] = _check(data, context, report, rejected)
    write_json(context.folder / "findings.json", report.to_json())
    write_page(report, context.folder / "findings.html", context.recipe.name)
    if report.groups:
        context.say(report.table())
    return {"passed": counts, "rejected": report.rejected, "unread": report.unread}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _check(data: DataSet, context: Context, report: FindingsReport, rejected: Any) -> int:
    """Check one data set; returns how many samples passed. Stops where more are rejected than the recipe allows."""
    samples, parents = _samples(data, context)
    looking, bad = checks(context.recipe.check), 0
    with writing_samples(context.folder / f"{data.name}.jsonl", context.run.path) as passed:
        for sample, line in context.track(samples.with_lines(), f"check {data.name}", len(samples)):
            found = findings(sample, looking, _parent(sample, parents))
            report.add(sample, found)
            errors = [finding for finding in found if finding.severity == "error"]
            if not errors:
                passed.copy(line)
                continue
            bad += 1
            for finding in errors:
                row = {"sample_id": sample.id, "check": finding.check, "reason": finding.message}
                rejected.write(json.dumps(row, ensure_ascii=False) + "\n")
    if bad > context.recipe.check.stop_above * len(samples):
        context.say(report.table())
        raise UserError(
            f"{bad} of {len(samples)} samples are rejected",
            f"data set {data.name!r}; the table above says why",
            "mend the data, or raise check.stop_above in the recipe",
        )
    return passed.count


def _samples(data: DataSet, context: Context) -> tuple[SampleFile, Iterator[Sample]]:
    """The samples to look at, and, of translated ones, what they were before, in the same order."""
    read = SampleFile(context.run.path / "ingest" / f"{data.name}.jsonl", context.run.path)
    made = context.run.path / "translate" / f"{data.name}.jsonl"
    if context.recipe.translate is None or not made.exists():
        return read, iter(())
    return SampleFile(made, context.run.path), iter(read)


def _parent(sample: Sample, parents: Iterator[Sample]) -> Sample | None:
    """What a sample was before translation: the next of that name. Samples may be left out, never moved."""
    return None if sample.parent is None else next((parent for parent in parents if parent.id == sample.parent), None)
