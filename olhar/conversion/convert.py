"""``olhar convert``: any published layout becomes a folder that plain transformers, vLLM and PEFT load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from olhar.conversion import report as reports
from olhar.conversion._fitting import EMBEDDINGS, HEAD, fit, lengthened, read_config
from olhar.conversion.report import Report
from olhar.conversion.source import Opened, opened
from olhar.conversion.tokenizers import check_rows, source_tokenizer, verify
from olhar.core import choices
from olhar.core.errors import UserError
from olhar.core.types import USUAL_PEN
from olhar.families._checkpoint import Described, read_sidecar, sidecar
from olhar.families._conversion import Conversion
from olhar.families._layouts import standard
from olhar.families._made import Made
from olhar.families._tokens import add_tokens
from olhar.families._writing import SIDECAR, Track, write_folder, writing_folder


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be written, known and checked before the first weight is read."""

    family: Any
    conversion: Conversion
    config: Any
    tensors: Mapping[str, Made]
    tokenizer: Tokenizer
    sidecar: Mapping[str, Any]
    report: Report


def convert(
    source: str | Path,
    target: str | Path,
    tower: str | Path | None = None,
    base: str | Path | None = None,
    prompt: str | None = None,
    language: str | None = None,
    track: Track | None = None,
) -> Report:
    """Write the checkpoint ``source`` as the folder ``target``, with the same weights, bit for bit.

    Args:
        source: a path, or a model on the hub; see ``olhar.conversion.source.opened``, also for ``tower`` and ``base``.
        target: a folder that does not exist yet or is empty.
        prompt: ``NAME`` or ``NAME/VARIANT`` of the prompt to ask it with; default: the one it was trained with.
        language: code of the language whose role words and system text the prompt writes.

    Returns:
        what was done, also what was added or left out and why.

    Raises:
        UserError: anything about the source that cannot be carried over exactly. ``target`` is then not there.
    """
    target = Path(target).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError("there is something here already", str(target), "name another folder, or remove this one first")
    plan = _plan(opened(source, tower, base), str(source), target, prompt, language)
    conversion = plan.conversion
    with writing_folder(target) as folder:
        write_folder(
            folder,
            plan.family,
            plan.config,
            conversion.settings,
            plan.tensors,
            plan.tokenizer,
            conversion.spoken,
            plan.sidecar,
            track,
        )
        verify(folder, plan.tokenizer, plan.family.SPECIAL_TOKENS)
    return plan.report


def _plan(source: Opened, name: str, target: Path, prompt: str | None, language: str | None) -> Plan:
    family_name, family = _family(source)
    conversion = family.conversion(source)
    said = _said(source, family_name)
    if said is not None:
        conversion = replace(conversion, settings=said.settings, spoken=said.spoken)
    conversion = replace(conversion, spoken=conversion.spoken.other(prompt, language))
    tokenizer, where = source_tokenizer(source.tokenizer), str(source.folder)
    if EMBEDDINGS not in conversion.tensors:
        raise UserError("there is no table of input embeddings", where, "check that the folder is whole")
    before = conversion.tensors[EMBEDDINGS].shape[0]
    known = tokenizer.get_vocab()
    check_rows(tokenizer, before, source.tokenizer)
    new = add_tokens(tokenizer, family.SPECIAL_TOKENS)
    rows = check_rows(tokenizer, before, source.tokenizer)
    conversion.spoken.stop_ids(tokenizer)  # told now, not after minutes of writing
    config = _config(family, conversion, rows, tokenizer)
    fitted = fit(family, config, lengthened(conversion.tensors, rows - before), where)
    left_out = {**conversion.left_out, **fitted.left_out}
    note = _template_note(source, family, conversion)
    report = Report(
        name,
        str(target),
        conversion.layout,
        family_name,
        reports.rows(fitted.tensors),
        _added(new, known, before, rows),
        left_out,
        (*conversion.notes, *([note] if note else ())),
        conversion.spoken,
    )
    public = source.folder.name if Path(name).exists() else name  # where it lay is nobody's business
    origin = (said and said.origin) or {"source": public, "layout": conversion.layout, "vocabulary": before}
    pen = said.pen if said else USUAL_PEN
    described = sidecar(family_name, conversion.settings, conversion.spoken, pen, origin)
    return Plan(family, conversion, config, fitted.tensors, tokenizer, described, report)


def _family(source: Opened) -> tuple[str, Any]:
    """The one family that knows the source's layout."""
    families = {name: choices.choose("families", name) for name in choices.names("families")}
    found = {name: family for name, family in families.items() if family.recognises(source)}
    if len(found) > 1:
        raise RuntimeError(f"several families recognise {source.folder}: {', '.join(found)}")
    if found:
        return next(iter(found.items()))
    config = source.config
    prefixes = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in source.tensors))
    known = ", ".join(f"{name} ({family.MODEL_CLASS})" for name, family in families.items())
    raise UserError(
        f"no family knows this layout: model_type {config.get('model_type')!r}, "
        f"architectures {config.get('architectures')!r}, tensors {', '.join(prefixes[:6])}",
        str(source.folder),
        f"known are the published and transformers' own layouts of {known}",
    )


def _said(source: Opened, family_name: str) -> Described | None:
    """What olhar wrote beside these weights or their base: their settings, prompt, pen and origin stay."""
    folder, said = next(((folder, said) for folder in source.folders if (said := read_sidecar(folder))), (None, None))
    if said is not None and said.family_name != family_name:
        what = f"this file speaks of the family {said.family_name}, the folder holds {family_name}"
        fix = "remove this file to convert the folder as what its other files say"
        raise UserError(what, f"{folder}/{SIDECAR}", fix)
    return said


def _config(family: Any, conversion: Conversion, rows: int, tokenizer: Tokenizer) -> Any:
    """The configuration with the target's vocabulary and the ids of its feature tokens."""
    config = read_config(family, conversion)
    for name in (EMBEDDINGS, HEAD):
        table = conversion.tensors.get(name)
        if table is not None and table.shape[0] != config.text_config.vocab_size:
            raise UserError(
                f"config.json says {config.text_config.vocab_size} tokens, and {name} has {table.shape[0]} rows",
                ", ".join(str(file) for file in table.files),
                "check that config.json belongs to these weights",
            )
    config.text_config.vocab_size = rows
    for key, token in family.TOKEN_KEYS.items():
        setattr(config, key, tokenizer.token_to_id(token))
    return config


def _template_note(source: Opened, family: Any, conversion: Conversion) -> str | None:
    if not standard.recognises(source, family.MODEL_TYPE, family.MODEL_CLASS):
        return None  # elsewhere a template is that of the bare language model
    return standard.template_note(source, family, conversion.settings, conversion.spoken)


def _added(new: Sequence[str], known: Mapping[str, int], before: int, rows: int) -> tuple[str, ...]:
    """What a person should know of tokens and embeddings that the source did not have."""
    lines = [f"the token {token}, in whose place image features go" for token in new]
    if rows > before:
        beyond = sorted(token for token, id in known.items() if id >= before)
        why = f"for the tokens {', '.join([*beyond, *new])}"
        more = "a row" if rows == before + 1 else f"{rows - before} rows"
        lines.append(f"{more} of embeddings, the mean of what was there, {why}")
    return tuple(lines)
