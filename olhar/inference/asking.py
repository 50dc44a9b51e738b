"""Many batches of questions, answered by several processes beside each other, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from olhar.inference.assistant import Assistant, Conversation


def answers_of(
    assistant: Assistant, batches: Sequence[Sequence[Conversation]], max_new_tokens: int, blank: bool, processes: int
) -> Iterator[list[str]]:
    """The answers to every batch, in the batches' order. Batch ``i`` is answered by process ``i % processes``."""
    asking = _Asking(assistant, batches, max_new_tokens, blank)
    workers = processes if processes > 1 else 0
    return iter(torch.utils.data.DataLoader(asking, batch_size=None, num_workers=workers))


@dataclass(frozen=True, slots=True)
class _Asking(torch.utils.data.Dataset[list[str]]):
    """A batch's answers by the batch's number."""

    assistant: Assistant
    batches: Sequence[Sequence[Conversation]]
    max_new_tokens: int
    blank: bool

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> list[str]:
        if not self.batches[number]:
            return []
        return self.assistant.answers(self.batches[number], self.max_new_tokens, self.blank)
