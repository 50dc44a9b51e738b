"""A program for a pipe: passes units on in capitals, and breaks in the ways that units ask for.

python stage.py [FOLDER]        FOLDER: once it broke there, ``once`` breaks it no more
"""

import sys
import time
from pathlib import Path


def main() -> None:
    begun = b""
    while came := sys.stdin.buffer.read1(1 << 16):
        *units, begun = (begun + came).split(b"\0")
        for unit in units:
            answer(unit)


def answer(unit: bytes) -> None:
    if b"crash" in unit:
        sys.stderr.write("this is why\n")
        sys.exit(3)
    if b"once" in unit and not (broke := Path(sys.argv[1]) / "broke").exists():
        broke.touch()
        sys.exit(3)
    if b"hang" in unit:
        time.sleep(60)
    sys.stdout.buffer.write(unit.upper() + b"\0")
    if b"twice" in unit:
        sys.stdout.buffer.write(unit.upper() + b"\0")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
