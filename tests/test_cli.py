"""The command line: what a person and a program see."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from olhar.cli import app
from olhar.core import choices

CONVERSATIONS = Path(__file__).parent / "golden" / "conversations"
RUNNER = CliRunner()


def test_help_names_every_command() -> None:
    shown = RUNNER.invoke(app, ["--help"]).output
    named = ("plan", "run", "ingest", "check", "mix", "train", "evaluate", "publish", "chat", "list", "env")
    assert all(f" {name} " in shown for name in named)


def test_list_tells_what_each_folder_holds() -> None:
    told = json.loads(RUNNER.invoke(app, ["list", "--json"]).output)
    assert told["languages"] == choices.names("languages") and "compact" in told["prompts"]
    assert json.loads(RUNNER.invoke(app, ["list", "checks", "--json"]).output) == {"checks": choices.names("checks")}


def test_env_names_the_versions_of_a_bug_report() -> None:
    told = json.loads(RUNNER.invoke(app, ["env", "--json"]).output)
    assert {"olhar", "python", "torch", "transformers", "cores", "memory"} <= told.keys()


def test_plan_tells_a_program_what_will_happen() -> None:
    recipe = Path(__file__).parent / "flow" / "tiny.toml"
    told = json.loads(RUNNER.invoke(app, ["plan", str(recipe), "--json"]).output)
    assert told["stages"] == ["ingest", "check", "mix", "train", "evaluate", "publish"]
    assert told["image_tokens"] == 18 and [stage["steps"] for stage in told["training"]] == [60, 60]


@pytest.mark.parametrize("name", sorted(path.name for path in CONVERSATIONS.glob("*.json")))
def test_check_tells_that_images_are_not_where_they_are_looked_for(name: str) -> None:
    done = RUNNER.invoke(app, ["check", str(CONVERSATIONS / name), "--json"])
    told = json.loads(done.stdout)
    missing = next(finding for finding in told["findings"] if finding["check"] == "images")
    assert done.exit_code == 1 and missing["samples"] == told["samples"] and "--images" in missing["advice"]


def test_check_of_a_good_file_ends_with_zero_and_writes_a_page(tmp_path: Path) -> None:
    row = {"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    data, page = tmp_path / "good.json", tmp_path / "findings.html"
    data.write_text(json.dumps([row]), encoding="utf-8")
    done = RUNNER.invoke(app, ["check", str(data), "--html", str(page)])
    assert done.exit_code == 0 and "All 1 samples pass" in done.stdout and page.exists()


def test_an_interrupt_tells_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("olhar.core.recipe.load", interrupted)
    result = RUNNER.invoke(app, ["plan", "recipes/world-pt.toml"])
    assert result.exit_code == 130 and "give the same command again" in result.output
