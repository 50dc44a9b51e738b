"""How sure a score is: intervals around shares and means."""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

SEED = 20240601  # of every bootstrap, so that a page shows the same interval each time it is made
RESAMPLES = 2000


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval (low, high) of a share ``successes / n``; Wilson 1927, without continuity correction.

    Stays inside [0, 1] and has a width even at 0 % and 100 %, where the normal approximation has none.
    Without an answer (``n`` = 0) nothing is known: (0.0, 1.0). Raises ``ValueError`` outside 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    centre = successes + z2 / 2
    half = math.sqrt(z2) * math.sqrt(successes * (n - successes) / n + z2 / 4)
    low = 0.0 if successes == 0 else (centre - half) / (n + z2)
    high = 1.0 if successes == n else (centre + half) / (n + z2)
    return low, high


def bootstrap_macro(
    groups: Sequence[Sequence[float]], level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile bootstrap interval (low, high) of a mean of group means (Efron and Tibshirani 1993, ch. 13).

    ``groups`` holds the scores of every group's answers (say, one group a skill). Answers are drawn with
    replacement inside their group, so that no resample loses a group. A group whose answers all score the same
    adds no width. Raises ``ValueError`` if there is no group or a group is empty.
    """
    if not groups or not all(len(group) for group in groups):
        raise ValueError("bootstrap_macro needs at least one group, and an answer in each")
    rng = np.random.default_rng(seed)
    macro = np.zeros(resamples)
    for group in groups:
        macro += _resampled_means(np.asarray(group, dtype=np.float64), resamples, rng) / len(groups)
    low, high = np.quantile(macro, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def mean_stderr(values: Sequence[float]) -> float:
    """The standard error of a mean, sample standard deviation / sqrt(n); NaN below two values."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def clustered_stderr(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """The standard error of a mean whose values come in clusters (questions about one image).

    Miller 2024 (arXiv 2411.00640), eq. 4: the plain variance plus the covariances inside each cluster.
    ``clusters`` names the cluster of each value. NaN below two values.
    """
    n = len(values)
    if n < 2:
        return math.nan
    mean = fmean(values)
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + (value - mean)
    squares = math.fsum((value - mean) ** 2 for value in values)
    covariances = math.fsum(total**2 for total in sums.values()) - squares
    return math.sqrt(max(0.0, mean_stderr(values) ** 2 + covariances / n**2))


def _resampled_means(
    values: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:  # (resamples,)
    """Means of ``resamples`` draws with replacement; one draw at a time keeps memory at one group's size."""
    n = len(values)
    return np.array([values[rng.integers(0, n, n)].mean() for _ in range(resamples)])
