"""Plots that the stages write: loss and speed of a run, and what each skill scored. PNG, 800 pixels wide.

Colours are readable on the white ground they carry with them and told apart without red and green.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from olhar.core.types import Score
from olhar.reports.scores import MACRO, percent

WIDTH = 8.0  # inches; 800 pixels, drawn at twice that for sharp screens
DPI = 200
INK, FAINT, GRID = "#1f2933", "#6b7785", "#e4e7eb"
BLUE, SKY, AMBER = "#2563a8", "#8fb8e0", "#c2570c"
BANDS = ("#eef2f7", "#ffffff")  # neighbouring stages
NARROW = 0.12  # of the width: a name is wider than such a band
SPANS = 1600  # of a long line: one a pixel
RESOLVED = 0.05  # seconds that are told apart from none: records round them to hundredths
PANELS = {  # of ``speed_curve``: label, colour, whether it is a share
    "tokens_per_second": ("real tokens\na second", BLUE, False),
    "fill": ("fill", SKY, True),
    "memory_gib": ("memory\n(GiB)", AMBER, False),
}

Records = Sequence[Mapping[str, Any]]


def loss_curve(records: Records, path: Path) -> None:
    """Draws the loss (thin: every step; thick: smoothed) and the learning rate of a run into ``path``.

    ``records`` are the run's steps in order, each with ``step`` (counted over the whole run), ``loss`` (nats),
    ``learning_rate`` and ``stage``. A stretch of equal stages is one shaded, named band.
    Raises ``ValueError`` without a record.
    """
    if not records:
        raise ValueError("loss_curve needs at least one step")
    figure, (loss, rate) = _panels(WIDTH, 4.6, heights=(4, 1))
    values = [float(record["loss"]) for record in records]
    for part in _stretches(records):
        steps = [record["step"] for record in records[part]]
        first = part.start == 0
        _line(loss, steps, values[part], BLUE, faint=True, label="each step" if first else None)
        _line(loss, steps, _smoothed(values[part]), BLUE, width=1.8, label="smoothed" if first else None)
        _line(rate, steps, [record.get("learning_rate", math.nan) for record in records[part]], AMBER)
    _bands(records, (loss, rate))
    loss.set_ylabel("loss (nats)")
    loss.set_ylim(bottom=0, top=_ceiling(values))
    loss.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    loss.tick_params(labelbottom=False)
    rate.set_ylabel("learning\nrate")
    rate.set_ylim(bottom=0, top=_room(rate))
    rate.yaxis.set_major_locator(MaxNLocator(2))
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _steps_below(rate)
    _save(figure, path)


def speed_curve(records: Records, path: Path) -> None:
    """Draws real tokens a second, the share of the packs that they fill, and the memory of a run into ``path``.

    ``records`` as for ``loss_curve``, with ``tokens_per_second``, ``fill`` (0 to 1) and ``memory_gib`` where they
    were measured; what no record has is no panel. Speed is that of the steps around each place, pauses included,
    where ``tokens`` and ``seconds`` tell it (see ``_speeds``). Raises ``ValueError`` without a record.
    """
    if not records:
        raise ValueError("speed_curve needs at least one step")
    known = [name for name in PANELS if any(record.get(name) is not None for record in records)] or ["seconds"]
    figure, panels = _panels(WIDTH, 0.9 + 1.25 * len(known), heights=[1] * len(known))
    for axes, name in zip(panels, known, strict=True):
        label, colour, shared = PANELS.get(name, ("seconds", BLUE, False))
        for part in _stretches(records):
            values = _speeds(records[part]) if name == "tokens_per_second" else _column(records[part], name)
            _line(axes, [record["step"] for record in records[part]], values, colour, width=1.6)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0, top=1.08 if shared else _room(axes))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %") if shared else "{x:,g}")
        axes.tick_params(labelbottom=axes is panels[-1])
    _bands(records, panels)
    _steps_below(panels[-1])
    _save(figure, path)


def run_curves(records: Records, folder: Path) -> None:
    """``loss.png`` and ``speed.png`` of a run into ``folder``; steps are counted through all of its stages.

    ``records`` are those of its stages one after another, each stage's ``step`` counted from 1.
    """
    counted = [{**record, "step": step} for step, record in enumerate(records, start=1)]
    loss_curve(counted, folder / "loss.png")
    speed_curve(counted, folder / "speed.png")


def skills_chart(scores: Sequence[Score], path: Path) -> None:
    """Draws one bar a skill with its 95 % interval, the majority answer (tick) and the blank picture (ring).

    ``scores`` are of one benchmark, language and split; the skills come in the order of their ``image`` score,
    best first, the macro last. Raises ``ValueError`` if there is no such score, or more than one a skill.
    """
    seen = _by_skill(scores, "image")
    if not seen:
        raise ValueError("skills_chart needs scores of the control 'image'")
    order = sorted(seen.values(), key=lambda score: (score.skill == MACRO, -score.value, score.skill))[::-1]
    figure, (axes,) = _panels(WIDTH, 1.2 + 0.3 * len(order), heights=(1,))
    rows = range(len(order))
    whiskers = [[s.value - s.low for s in order], [s.high - s.value for s in order]]
    colours = [FAINT if score.skill == MACRO else SKY for score in order]
    axes.barh(rows, [score.value for score in order], height=0.56, color=colours)
    axes.errorbar([s.value for s in order], rows, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    _markers(axes, [score.skill for score in order], scores)
    for row, score in enumerate(order):
        axes.text(1.09, row, percent(score.value), va="center", ha="right", fontsize=9, color=INK)
    axes.set_yticks(rows, [score.skill.replace("_", " ") for score in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(-0.012, 1.1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("answers that are exactly right, with 95 % interval")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    _save(figure, path)


def _markers(axes: Axes, skills: Sequence[str], scores: Sequence[Score]) -> None:
    """What is scored without looking, on the same rows as the bars."""
    majority, blank = (
        {skills.index(skill): score.value for skill, score in _by_skill(scores, control).items() if skill in skills}
        for control in ("majority", "blank")
    )
    if majority:
        low, high = [row - 0.36 for row in majority], [row + 0.36 for row in majority]
        axes.vlines(list(majority.values()), low, high, color=AMBER, linewidth=2.4, zorder=5)
        tick: dict[str, Any] = {"marker": "|", "markersize": 12, "markeredgewidth": 2.4, "linestyle": ""}
        axes.plot([], [], color=AMBER, label="always the most frequent answer", **tick)
    if blank:
        ring: dict[str, Any] = {"s": 30, "facecolor": "white", "edgecolor": INK, "linewidths": 1.2}
        axes.scatter(list(blank.values()), list(blank), zorder=6, label="the same picture, blanked", **ring)


def _by_skill(scores: Sequence[Score], control: str) -> dict[str, Score]:
    """The scores of one control by skill; ``ValueError`` if two of them claim the same row."""
    found: dict[str, Score] = {}
    for score in scores:
        if score.control != control:
            continue
        if score.skill in found:
            raise ValueError(f"two scores of {score.skill}, control {control}: give one benchmark, language and split")
        found[score.skill] = score
    return found


def _stretches(records: Records) -> Iterator[slice]:
    """Slices of consecutive records of one stage."""
    start = 0
    for _, group in groupby(records, key=lambda record: record["stage"]):
        end = start + sum(1 for _ in group)
        yield slice(start, end)
        start = end


def _bands(records: Records, panels: Sequence[Axes]) -> None:
    """Shades each stage behind every panel and writes its name once, at the top of the first."""
    parts = list(_stretches(records))
    first, last = records[0]["step"], records[-1]["step"]
    if first == last:  # room around the only point
        first, last = first - 0.5, last + 0.5
    edges = [first] + [records[part.start]["step"] for part in parts[1:]] + [last]
    for number, part in enumerate(parts):
        for axes in panels:
            axes.axvspan(edges[number], edges[number + 1], color=BANDS[number % 2], zorder=0, linewidth=0)
        _name(panels[0], str(records[part.start]["stage"]), edges[number : number + 2], (first, last), number)
    for axes in panels:
        axes.set_xlim(first, last)


def _name(axes: Axes, name: str, band: Sequence[float], whole: tuple[float, float], number: int) -> None:
    """A stage's name over its band; over a narrow one it stands at the edge, every other one higher."""
    narrow = (band[1] - band[0]) / (whole[1] - whole[0]) < NARROW
    at_end = narrow and band[1] == whole[1]
    place = band[1] if at_end else band[0] if narrow else (band[0] + band[1]) / 2
    axes.annotate(
        name, (place, 1), (0, 17 if narrow and number % 2 == 0 else 5), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if at_end else "left" if narrow else "center", va="bottom",
        fontsize=9, color=FAINT,
    )  # fmt: skip


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean around each place, over 4 % of the stage; what is not finite is left out."""
    reach = len(values) // 50
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(numbers)
    sums, counts = _sums(np.where(finite, numbers, 0.0), reach), _sums(finite, reach)
    return [float(mean) for mean in np.divide(sums, counts, out=np.full(len(numbers), math.nan), where=counts > 0)]


def _sums(numbers: np.ndarray, reach: int) -> np.ndarray:
    """At each place the sum from ``reach`` before it to ``reach`` behind it: (places,) -> (places,)."""
    places, total = np.arange(len(numbers)), np.concatenate([[0.0], np.cumsum(numbers, dtype=np.float64)])
    return total[np.minimum(places + reach + 1, len(numbers))] - total[np.maximum(places - reach, 0)]


def _column(records: Records, name: str) -> list[float]:
    """What every record says of ``name``; not a number where it does not."""
    found = [record.get(name) for record in records]
    return [math.nan if value is None else float(value) for value in found]


def _speeds(records: Records) -> list[float]:
    """Real tokens a second around each step of one stage, over 2 % of it and at least five steps.

    A record's own ``tokens_per_second`` is the mean since the stage began: a machine that grows slow would hardly
    show. It is taken where tokens or seconds are missing, or seconds too short to be told apart.
    """
    told, tokens, seconds = (_column(records, name) for name in ("tokens_per_second", "tokens", "seconds"))
    reach = max(2, len(records) // 100)
    spent = np.diff(seconds, prepend=seconds[0])
    spent[0] = math.nan  # what came before the first step was no step
    sums = _sums(np.where(np.isfinite(spent), tokens, 0.0), reach)
    with np.errstate(invalid="ignore"):  # a stage without seconds
        during = _sums(np.where(np.isfinite(spent), spent, 0.0), reach)
        measured = np.isfinite(sums) & (during >= RESOLVED)
    return [float(sums[i] / during[i]) if measured[i] else told[i] for i in range(len(records))]


def _line(
    axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str, width: float = 1.4, faint: bool = False,
    label: str | None = None,
) -> None:  # fmt: skip
    """One line of a panel; of very many points only the lowest and the highest of each span are drawn."""
    dot = "" if faint or len(steps) > 1 else "o"  # a line of one point would be invisible
    steps, values = _thinned(steps, values)
    look: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.4} if faint else {"linewidth": width, "marker": dot}
    axes.plot(steps, values, color=colour, label=label, **look)


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[Sequence[int], Sequence[float]]:
    """The same line in at most 2 ``SPANS`` points, spikes kept."""
    if len(values) <= 2 * SPANS:
        return steps, values
    kept: list[int] = []
    edges = np.linspace(0, len(values), SPANS + 1).astype(int)
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
    for start, end in pairwise(edges.tolist()):
        span = numbers[start:end]
        kept += sorted({start + int(span.argmin()), start + int(span.argmax())})
    return [steps[place] for place in kept], [values[place] for place in kept]


def _steps_below(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("step")


def _ceiling(values: Sequence[float]) -> float:
    """The top of the loss panel: a few spikes must not flatten the curve, and a diverged loss has no place."""
    finite = sorted(filter(math.isfinite, values))
    return 1.08 * max(finite[int(0.995 * (len(finite) - 1))], 1e-6) if finite else 1.0


def _room(axes: Axes) -> float | None:
    """The top of a panel from 0, a little above its highest line; None where there is no line."""
    highest = float(axes.dataLim.ymax)
    return 1.15 * highest if math.isfinite(highest) and highest > 0 else None


def _panels(width: float, height: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A bare white figure, ``width`` x ``height`` inches, of panels above each other sharing their abscissa."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # no window system is asked for
    grid = {"height_ratios": heights}
    panels = list(figure.subplots(len(heights), 1, squeeze=False, sharex=True, gridspec_kw=grid)[:, 0])
    for axes in panels:
        axes.set_axisbelow(True)
        axes.grid(color=GRID, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    return figure, panels


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None})
