"""Where a checkpoint lies: a local path, or a model on the Hugging Face hub that is fetched first."""

from pathlib import Path

from olhar.core.errors import UserError
from olhar.families._known import HUB_ID

WANTED = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja"]  # weights and words, never code


def located(name: str | Path, beside: Path | None = None) -> Path:
    """The local path of a checkpoint or part.

    Args:
        name: a path, or ``org/name`` of the hub where there is no such path.
        beside: a folder that a relative path is looked up in first.

    Raises:
        UserError: there is nothing of that name, or it cannot be fetched.
    """
    for path in ((beside / name).resolve() if beside else None, Path(name).expanduser()):
        if path is not None and path.exists():
            return path
    if HUB_ID.fullmatch(str(name)):
        return _fetched(str(name))
    raise UserError(
        "there is no such file or folder", str(name), "check the path, or name a model on the hub as organisation/name"
    )


def _fetched(name: str) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=WANTED))
    except errors.GatedRepoError as error:
        what, fix = "its owners must let you in first", "ask on its page, then log in with `hf auth login`"
        raise _unreachable(name, what, fix) from error
    except errors.RepositoryNotFoundError as error:
        what, fix = "the hub knows no model of that name", "check the name; of a private model, `hf auth login` first"
        raise _unreachable(name, what, fix) from error
    except (OSError, ValueError, RuntimeError, errors.HfHubHTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fix = "check the connection, or download the model elsewhere and name its folder"
        raise _unreachable(name, f"it cannot be fetched: {reason}", fix) from error


def _unreachable(name: str, what: str, fix: str) -> UserError:
    return UserError(f"there is no local folder {name}, and on the hub: {what}", name, fix)
