"""Which samples a mixture takes, and how often."""

from collections import Counter

import pytest

from olhar.core.recipe import Taking
from olhar.core.types import Sample
from olhar.stages.mix import copies

SAMPLES = [Sample(f"s{n}", "pt", (), meta={"skill": ("name", "has")[n % 2]}) for n in range(4000)]


def taken(repeat: float, seed: int = 0, **where: tuple[str, ...]) -> Counter[str]:
    taking = Taking(data="x", repeat=repeat, where=where)
    return Counter({sample.id: copies(sample, taking, seed) for sample in SAMPLES})


def test_where_keeps_the_listed_values_only() -> None:
    found = taken(1, skill=("name",))
    assert sum(found.values()) == 2000 and not found["s1"]


@pytest.mark.parametrize(("repeat", "least", "most"), [(0.25, 0, 1), (1, 1, 1), (2.5, 2, 3), (3, 3, 3)])
def test_repeat_is_kept_on_average_and_spread_evenly(repeat: float, least: int, most: int) -> None:
    found = taken(repeat)
    assert set(found.values()) <= {least, most}
    assert sum(found.values()) / len(SAMPLES) == pytest.approx(repeat, abs=0.03)


def test_a_fraction_depends_on_the_seed_and_on_nothing_else() -> None:
    assert taken(0.5) == taken(0.5) != taken(0.5, seed=1)
