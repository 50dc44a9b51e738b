"""The forecast of a recipe for a person: one column a stage of training, one line a number, 100 columns wide."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from olhar.languages import language

BESIDE = 4  # stages of training in one table
Row = Mapping[str, Any]
UNKNOWN = "?"
TIMES = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9))
ABOUT = {"estimated": "~", "expected": "~", "counted": "", "unknown": ""}


def shown(told: Row, warnings: list[str]) -> Group:
    """``_forecast.describe`` for a person."""
    own_name = language(told["language"]).own_name
    parts: list[RenderableType] = [f"[bold]{told['recipe']}[/] ({own_name}): {' → '.join(told['stages'])}"]
    if "model" in told:
        parts += _model(told["model"])
    stages = told["training"]
    for first in range(0, len(stages), BESIDE):
        parts += ["", _stages(stages[first : first + BESIDE], told["hardware"])]
    if stages:
        parts += ["", *_totals(told), *_notes(told)]
    parts += [f"[yellow]! {warning}[/]" for warning in warnings]
    parts += _to_fetch(told["to_fetch"])
    parts.append("[green]every name, path and size is bound[/]")
    return Group(*parts)


def _model(model: Row) -> Iterator[str]:
    roles = ", ".join(f"{role} {size:,}" for role, size in model["by_role"].items())
    yield f"model: {model['parameters']:,} parameters ({roles})"
    if model["tower_unread"]:
        head = f", {model['pooling_head']:,} of them a pooling head" if model["pooling_head"] else ""
        yield f"  of the tower {model['tower_unread']:,} lie behind the layer that is read{head}: they never learn"
    yield f"  one square image is {model['image_tokens']:,} tokens; the vocabulary has {model['vocabulary']:,} rows"


def _stages(stages: list[Row], hardware: Row | None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="dim", no_wrap=True)
    for stage in stages:
        table.add_column(stage["name"], justify="right", header_style="bold", overflow="fold")
    for label, cell in (*LINES, *_memory_lines(stages, hardware), *_cost_lines(stages, hardware)):
        cells = [cell(stage) for stage in stages]
        if any(cells):
            table.add_row(label, *cells)
    return table


def _learns(stage: Row) -> str:
    return "\n".join(f"{role} {rate:g}" for role, rate in stage["trains"].items())


def _trained(stage: Row) -> str:
    lora = stage["adapter_parameters"]
    return short(stage["trained_parameters"]) + (f"\n{short(lora)} of LoRA" if lora else "")


def _samples(stage: Row) -> str:
    if stage["samples"] is None:
        return UNKNOWN
    times = f"\nx {stage['epochs']:.2f} epochs" if stage["epochs"] is not None else ""
    return f"{ABOUT[stage['samples_known']]}{stage['samples']:,}{times}"


def _steps(stage: Row) -> str:
    return UNKNOWN if stage["steps"] is None else f"{stage['steps']:,}"


def _spread(name: str) -> Callable[[Row], str]:
    def cell(stage: Row) -> str:
        found = stage[name]
        return "" if found is None else "/".join(f"{found[which]:,.0f}" for which in ("median", "mean", "max"))

    return cell


def _optional(name: str, form: str) -> Callable[[Row], str]:
    def cell(stage: Row) -> str:
        return "" if stage.get(name) is None else form.format(stage[name])

    return cell


LINES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("learns, at the rate", _learns),
    ("parameters that learn", _trained),
    ("samples", _samples),
    ("steps", _steps),
    ("  of them warm-up", _optional("warmup_steps", "{:,}")),
    ("a step learns from", lambda stage: f"{stage['batch']:,} {stage['unit']}"),
    ("tokens a sample*", _spread("tokens_per_sample")),
    ("  of the images*", _spread("image_tokens_per_sample")),
    ("  labelled*", _spread("labelled_per_sample")),
    ("packs are full to", _optional("fill", "{:.1%}")),
    ("tokens a step", _optional("tokens_a_step", "{:,}")),
    ("tokens of all steps", lambda stage: short(stage["tokens"]) if stage["tokens"] else ""),
)


def _memory_lines(stages: list[Row], hardware: Row | None) -> Iterator[tuple[str, Callable[[Row], str]]]:
    """Memory of one GPU, in whichever unit shows the smallest model."""
    unit, size = ("GiB", 2**30) if max(stage["memory_total_bytes"] for stage in stages) >= 2**30 else ("MiB", 2**20)
    yield f"memory a {'GPU' if hardware else 'process'}, {unit}", lambda stage: stage["precision"]
    lines = dict.fromkeys(line for stage in stages for line in stage["memory_bytes"])
    for line in lines:
        yield f"  {line}", lambda stage, line=line: f"{stage['memory_bytes'].get(line, 0) / size:,.2f}"  # type: ignore[misc]

    def total(stage: Row) -> str:
        room = f" of {hardware['memory_gib']:g}" if hardware and unit == "GiB" else ""
        colour = "red bold" if stage["memory_fits"] is False else "bold"
        return f"[{colour}]{stage['memory_total_bytes'] / size:,.2f}{room}[/]"

    yield "  together", total


def _cost_lines(stages: list[Row], hardware: Row | None) -> Iterator[tuple[str, Callable[[Row], str]]]:
    totals = [stage["flops_total"] for stage in stages if stage["flops_total"]]
    if totals:
        letter, size = next((row for row in TIMES if max(totals) >= row[1]), TIMES[-1])
        yield f"operations, {letter}FLOP", lambda stage: " "
        for part in dict.fromkeys(part for stage in stages for part in stage["flops"] or ()):
            yield f"  {part}", lambda stage, part=part: f"{(stage['flops'] or {}).get(part, 0) / size:,.2f}"  # type: ignore[misc]
        yield "  together", lambda stage: f"{(stage['flops_total'] or 0) / size:,.2f}"
    if hardware:
        yield "hours", _optional("hours", "{:,.2f}")
        yield "kWh", _optional("energy_kwh", "{:,.2f}")
    yield "a checkpoint", lambda stage: size_of(stage["checkpoint_bytes"])


def _totals(told: Row) -> Iterator[str]:
    total, machine, features = told["total"], told["hardware"], told["feature_cache"]
    if features:
        need = "?" if features["bytes"] is None else size_of(features["bytes"])
        once = "" if features["hours"] is None else f", {features['hours']:.2f} h once"
        yield f"feature cache: {need} on disk, {size_of(features['free_bytes'])} are free{once}"
    yield f"checkpoints: up to {size_of(total['checkpoint_bytes'])} of one stage on disk at once"
    if machine is None:
        yield "no train.hardware in the recipe: hours and energy are not reckoned"
        return
    if total["hours"] is None:
        yield "hours and energy: not known, because the number of steps is not"
        return
    reached = f"{machine['tflops']:g} TFLOP/s x {machine['utilisation']:.0%} assumed"
    yield f"[bold]{total['hours']:,.1f} h[/] on {machine['count']} x {machine['gpu']} ({reached})"
    energy = f"{total['energy_kwh']:,.1f} kWh of the GPUs alone, at {machine['watts']:g} W, PUE {total['pue']:.1f}"
    if total["co2_g"] is None:
        yield f"{energy}; CO2: {total['co2_from']}"
    else:
        yield f"{energy}; {total['co2_g'] / 1000:,.2f} kg CO2 ({total['country']}: {total['g_co2_per_kwh']:g} g/kWh)"


def _notes(told: Row) -> Iterator[Text]:
    """What the numbers rest on; what is said of several stages stands once."""
    yield Text("* median/mean/max of a seeded look at the data, of which nothing is decoded", style="dim")
    said: dict[str, list[str]] = {}
    for stage in told["training"]:
        for note in _rests_on(stage):
            said.setdefault(note, []).append(stage["name"])
    for note, names in said.items():
        yield Text(f"{', '.join(names)}: {note}", style="dim")


def _rests_on(stage: Row) -> Iterator[str]:
    if stage["samples_known"] in ("estimated", "expected"):
        how = {"estimated": "reckoned from a part of the data", "expected": "as the recipe expects"}
        yield f"the number of samples is {how[stage['samples_known']]}"
    if stage["assumed_share"]:
        yield f"{stage['assumed_share']:.0%} of the samples unseen: assumed a picture of 640x480, 150 tokens of text"
    if stage["words"] == "bytes":
        yield "no tokenizer at hand: 3.5 bytes a token assumed"
    elif stage["words"] != "tokenizer":
        yield "the tokenizer was learned from the look"
    if stage["unseen_pictures"]:
        yield f"{stage['unseen_pictures']:.0%} of the pictures not found, assumed 640x480"
    if stage["overlong_share"]:
        yield f"{stage['overlong_share']:.1%} are longer than a pack"
    if stage["refused"]:
        yield f"{stage['refused']} samples are such as no prompt writes"
    if stage["steps"] is None:
        yield "steps are not known before the data is read; expect = N of a data set says how many samples it has"


def _to_fetch(rows: list[Row]) -> Iterator[str]:
    if rows:
        yield "[yellow]to fetch first:[/]"
    for row in rows:
        if row["what"] == "data":
            yield f"  data {row['name']}: {row['samples']:,} samples, {row['path']}"
        elif row["what"] == "package":
            yield f"  {row['name']} ({row['path']})"
        else:
            yield f"  {row['what']}: hf download {row['name']}"


def short(number: float) -> str:
    """A count with three figures: 6.56 M."""
    for letter, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {letter}" if number < 1000 * size else f"{number / size:,.0f} {letter}"
    return f"{number:,.0f}"


def size_of(count: float) -> str:
    """Bytes with a unit: 12.3 GiB."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"
