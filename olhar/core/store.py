"""Run folders: ``runs/<run>/<stage>/`` with its data and a ``manifest.json`` that is written last.

A stage is finished when its manifest is there. Files are written whole (temporary name, fsync, rename), so a
kill at any moment leaves either the old file, the new one, or a ``*.partial`` that nobody reads.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from olhar.core.errors import DiskError, StageError, UserError
from olhar.core.types import Manifest

MANIFEST = "manifest.json"
BEGUN = "begun.json"
PARTIAL = ".partial"
DISK_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (full disk, no permission) into a ``DiskError`` naming the file."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise DiskError(
            f"cannot write: {getattr(error, 'strerror', None) or error}",
            str(path),
            "free space or permission there, then give the same command again: finished work is kept",
        ) from error


@contextmanager
def writing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file that appears under its name only when it is complete and on disk.

    Raises ``DiskError`` whenever the disk refuses: at opening, at any write, at closing.
    """
    temporary = path.with_name(path.name + PARTIAL)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(temporary, mode, encoding=None if "b" in mode else "utf-8")
    try:
        yield handle
        with disk_errors(path):
            handle.flush()
            os.fsync(handle.fileno())
            handle.close()
            os.replace(temporary, path)
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # closing flushes again what could not be written before
            handle.close()
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in DISK_REFUSALS and error.filename is None:
            with disk_errors(path):
                raise
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    with writing(path) as handle, disk_errors(path):
        json.dump(value, handle, ensure_ascii=False, indent=1)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """The JSON in ``path``; a ``UserError`` where there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("this file is missing", str(path), "run the stage that writes it") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"this is not JSON: {error}", str(path), "delete it and run its stage again") from error


def state(path: str) -> tuple[int, int]:
    """(change time in ns, bytes): differs when a file was changed, or an entry of a folder came or went.

    (0, 0) where there is nothing: reading it will say so.
    """
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def digest(value: Any) -> str:
    """A short hash of anything JSON can say; the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_path(path: Path) -> str:
    """A short hash of a file's bytes, or of all files below a folder."""
    if path.is_dir():
        inside = sorted(child for child in path.rglob("*") if child.is_file())
        return digest({child.relative_to(path).as_posix(): digest_path(child) for child in inside})
    if not path.exists():
        raise UserError("there is no such file or folder", str(path), "check the path")
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StageFolder:
    """One stage's folder inside a run."""

    name: str
    path: Path

    def manifest(self) -> Manifest | None:
        """What the finished stage wrote of itself, or None while it is not finished."""
        if not (self.path / MANIFEST).exists():
            return None
        try:
            return Manifest(**read_json(self.path / MANIFEST))
        except TypeError as error:
            raise StageError(
                f"the manifest is of another version of olhar: {error}",
                str(self.path / MANIFEST),
                "delete this stage's folder to run it again",
            ) from error

    def begin(self, fingerprint: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
        """Open the folder for work; True when an earlier run of the same configuration was interrupted here.

        Raises ``StageError``, naming the fields that differ, when the folder was begun with another
        configuration: results of two recipes never mix.
        """
        begun = self.path / BEGUN
        if begun.exists():
            earlier = read_json(begun)
            if earlier["fingerprint"] == fingerprint:
                return True
            raise self.differs(earlier["config"], earlier["inputs"], config, inputs)
        write_json(begun, {"fingerprint": fingerprint, "config": config, "inputs": inputs})
        return False

    def differs(
        self,
        config_then: Mapping[str, Any],
        inputs_then: Mapping[str, str],
        config_now: Mapping[str, Any],
        inputs_now: Mapping[str, str],
    ) -> StageError:
        """The error for a folder that was made with another configuration or from other inputs."""
        fields = list(changes(config_then, config_now)) + list(changes(inputs_then, inputs_now, "inputs"))
        shown = "; ".join(fields[:6]) + (f"; and {len(fields) - 6} more" if len(fields) > 6 else "")
        return StageError(
            f"this stage was made with another configuration: {shown or 'another version of olhar'}",
            str(self.path),
            f"give the recipe another name, or pass --redo {self.name} to discard this stage and what follows it",
        )

    def begun(self) -> str:
        """The fingerprint with which work here was begun."""
        return str(read_json(self.path / BEGUN)["fingerprint"])

    def finish(self, manifest: Manifest) -> None:
        write_json(self.path / MANIFEST, asdict(manifest))

    def outputs(self) -> dict[str, str]:
        """Hash of every file at the top of the folder: what the next stage's fingerprint depends on."""
        own = (MANIFEST, BEGUN)
        files = [file for file in sorted(self.path.iterdir()) if file.is_file() and file.name not in own]
        return {file.name: digest_path(file) for file in files if not file.name.endswith(PARTIAL)}


def changes(then: Any, now: Any, where: str = "") -> Iterator[str]:
    """The dotted places at which two JSON values differ, with both values."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted(then.keys() | now.keys()):
            yield from changes(then.get(key), now.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from changes(one, other, f"{where}.{index}")
    elif then != now:
        yield f"{where}: {_short(then)} then, {_short(now)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``runs/<run>``: one recipe's stages."""

    path: Path

    def stage(self, name: str) -> StageFolder:
        return StageFolder(name, self.path / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process works in a run folder; the lock dies with its process."""
        import fcntl  # POSIX only, like the engines we train with

        lock = self.path / ".lock"
        with disk_errors(lock):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(lock, "a+", encoding="utf-8")
        with handle:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock would live on in forked workers
            except (BlockingIOError, PermissionError) as error:
                handle.seek(0)
                raise StageError(
                    f"another olhar is working in this run folder (process {handle.read().strip() or 'unknown'})",
                    str(self.path),
                    "wait for it, or stop it first",
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield


class Stopwatch:
    """Wall seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)
