"""Plots that the stages write: the loss of a run, and what each skill scored. PNG, 800 pixels wide.

Colours are readable on the white ground they carry with them and told apart without red and green.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

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
        dot = "o" if len(steps) == 1 else ""  # a line of one point would be invisible
        raw: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.4, "label": "each step" if part.start == 0 else None}
        smooth: dict[str, Any] = {"linewidth": 1.8, "marker": dot, "label": "smoothed" if part.start == 0 else None}
        loss.plot(steps, values[part], color=BLUE, **raw)
        loss.plot(steps, _smoothed(values[part]), color=BLUE, **smooth)
        rates = [record["learning_rate"] for record in records[part]]
        rate.plot(steps, rates, color=AMBER, linewidth=1.4, marker=dot)
    _bands(records, (loss, rate))
    loss.set_ylabel("loss (nats)")
    loss.set_ylim(bottom=0, top=_ceiling(values))
    loss.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    loss.tick_params(labelbottom=False)
    rate.set_ylabel("learning\nrate")
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_locator(MaxNLocator(2))
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    rate.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    rate.set_xlabel("step")
    _save(figure, path)


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
    first, last = records[0]["step"], max(records[-1]["step"], records[0]["step"] + 1)
    edges = [first] + [records[part.start]["step"] for part in parts[1:]] + [last]
    for number, part in enumerate(parts):
        for axes in panels:
            axes.axvspan(edges[number], edges[number + 1], color=BANDS[number % 2], zorder=0, linewidth=0)
        name = str(records[part.start]["stage"])
        middle = (edges[number] + edges[number + 1]) / 2
        panels[0].annotate(
            name, (middle, 1), (0, 5), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, color=FAINT,
        )  # fmt: skip
    for axes in panels:
        axes.set_xlim(first, last)


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean around each place, over 4 % of the stage."""
    reach = len(values) // 50
    return [fmean(values[max(0, place - reach) : place + reach + 1]) for place in range(len(values))]


def _ceiling(values: Sequence[float]) -> float:
    """The top of the loss panel: a few spikes must not flatten the curve, and a diverged loss has no place."""
    finite = sorted(filter(math.isfinite, values))
    return 1.08 * max(finite[int(0.995 * (len(finite) - 1))], 1e-6) if finite else 1.0


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
