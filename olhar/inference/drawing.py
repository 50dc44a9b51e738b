"""Drawing tokens from a seed of one's own.

transformers draws all rows of a batch from torch's one global generator, so that a row's answer would depend on its
neighbours, and on whatever else draws in this process. Here every row has a generator of its own: an answer drawn
with a seed is the same alone and in any batch.
"""

import torch
from transformers import LogitsProcessor


class Drawing(LogitsProcessor):
    """Leaves one token of each row, drawn with the probabilities of its scores: the last processor of a list.

    seed: of every row; None for a new one each.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) scores -> 0 where the drawn token is, minus infinity elsewhere."""
        while len(self._generators) < len(scores):
            self._generators.append(self._generator())
        sums = scores.double().softmax(-1).cumsum(-1)
        points = torch.stack([torch.rand(1, generator=one, dtype=torch.float64) for one in self._generators])
        drawn = torch.searchsorted(sums, points.to(sums.device) * sums[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn.clamp(max=scores.shape[1] - 1), 0.0)

    def _generator(self) -> torch.Generator:
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator
