"""Many batches of questions, answered by several processes beside each other, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from olhar.inference.assistant import Assistant, Conversation
from olhar.inference.generation import Generation


def answers_of(
    assistant: Assistant,
    batches: Sequence[Sequence[Conversation]],
    max_new_tokens: int,
    blank: bool,
    processes: int,
    generation: Generation | None = None,
) -> Iterator[list[str]]:
    """The answers to every batch, in the batches' order. Batch ``i`` is answered by process ``i % processes``."""
    how = replace(generation or Generation(), max_new_tokens=max_new_tokens)
    asking = _Asking(assistant, batches, how, blank)
    workers = processes if processes > 1 else 0
    return iter(torch.utils.data.DataLoader(asking, batch_size=None, num_workers=workers))


@dataclass(frozen=True, slots=True)
class _Asking(torch.utils.data.Dataset[list[str]]):
    """A batch's answers by the batch's number."""

    assistant: Assistant
    batches: Sequence[Sequence[Conversation]]
    generation: Generation
    blank: bool

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> list[str]:
        return self.assistant.answers(self.batches[number], blank=self.blank, generation=self.generation)
