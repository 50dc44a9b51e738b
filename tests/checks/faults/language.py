"""Turns in another language or script than the sample says."""

from pathlib import Path

from tests.checks.planting import Fault, sample

ENGLISH = "There is a black cat on the table, and it looks at the birds."
VIETNAMESE = "Trong ảnh có một con mèo đen đang ngồi ở trên bàn."
CYRILLIC = "На столе сидит чёрная кошка"


def faults(folder: Path) -> list[Fault]:
    said = [("other language", ENGLISH), ("other language", VIETNAMESE), ("other script", CYRILLIC)]
    told = [
        Fault(kind, "warning", [sample("user: O que há na mesa?", f"assistant: {text}", language="pt")])
        for kind, text in said
    ]
    short = sample("user: Who is on the table?", "assistant: It is a cat.", language="pt")  # together long enough
    return [
        *told,
        Fault("other language", "warning", [short]),
        Fault("other script", "warning", [sample("user: 他们在桌子上面做什么呢你看见了吗")]),
    ]
