"""A folder is a registry: exact names, imported when asked for, and helpful when there is none."""

import sys
from pathlib import Path

import pytest

from olhar.core.choices import choose, names
from olhar.core.errors import UnknownName


def test_names_are_the_files_that_do_not_begin_with_an_underscore() -> None:
    assert {"en", "pt", "vi"} <= set(names("languages"))
    found = names("prompts")
    assert {"plain", "compact", "vicuna"} <= set(found) and found == sorted(found)
    assert not any(name.startswith("_") for name in found)
    assert "world" in names("sources"), "a package is a choice too"


def test_a_name_is_its_module() -> None:
    assert choose("languages", "pt").LANGUAGE.code == "pt"
    assert choose("sources", "world").__name__ == "olhar.sources.world"


@pytest.mark.parametrize(
    ("name", "hint"), [("tucan", "did you mean 'tucano'"), ("Vicuna", "'vicuna'"), ("_form", "create olhar/prompts/")]
)
def test_an_unknown_name_lists_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        choose("prompts", name)
    assert all(there in caught.value.what for there in names("prompts")) and repr(name) in caught.value.what
    assert hint in caught.value.fix and f"olhar/prompts/{name}.py" in caught.value.fix


def test_names_are_exact() -> None:
    for name in ("PT", " pt", "pt ", "pt-BR", "", "../core"):
        with pytest.raises(UnknownName):
            choose("languages", name)


def test_a_dotted_name_is_a_module_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_lab").mkdir()
    (tmp_path / "their_lab" / "check.py").write_text("found = 'outside'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert choose("checks", "their_lab.check").found == "outside"
    sys.modules.pop("their_lab.check"), sys.modules.pop("their_lab")
    with pytest.raises(UnknownName, match=r"cannot import 'their_lab\.nothing'") as caught:
        choose("checks", "their_lab.nothing")
    assert "PYTHONPATH" in caught.value.fix
