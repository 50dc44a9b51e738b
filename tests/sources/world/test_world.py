"""The world as a source: options, samples, files, and the export to LLaVA's JSON."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from olhar.core import choices
from olhar.core.errors import DiskError, UserError
from olhar.core.types import ImageRef, VideoRef, sample_from_json, sample_to_json
from olhar.languages import language
from olhar.sources import Request, llava, world
from olhar.sources.world.export import write_llava

SPEAKING = [code for code in choices.names("languages") if language(code).scenes]


def request(media, code="pt", **options):
    return Request(None, world.Options(**options), code, "small world", media)


def samples(media, code="pt", **options):
    return list(world.read(request(media, code, **options)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scenes": 3, "per_skill": 3},
        {"scenes": 0},
        {"scenes": 3, "kinds": {}},
        {"scenes": 3, "kinds": {"landscape": 1}},
        {"scenes": 3, "kinds": {"word": 1}, "skills": ("move",)},
        {"scenes": 3, "kinds": {"word": 1}, "skills": ("ocr", "move")},
        {"scenes": 3, "skills": ("sing",)},
        {"scenes": 3, "nouns": 2},
        {"scenes": 3, "split": "test"},
        {"scenes": 3, "sead": 1},
    ],
)
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(ValidationError):
        world.Options(**options)


def test_questions_of_a_scene_share_their_pictures(tmp_path):
    found = samples(tmp_path, scenes=60)
    assert len({sample.id for sample in found}) == len(found)
    media = {}
    for sample in found:
        user, assistant = sample.turns
        assert (user.role, assistant.role, sample.source) == ("user", "assistant", "small world")
        assert user.parts == (*user.media, user.text) and user.media
        assert user.text[0].isupper() and user.text[-1] in "?." and "{" not in user.text
        assert assistant.text and not assistant.media
        assert media.setdefault(sample.meta["scene"], user.media) == user.media
        assert sample.id == f"train-0-{sample.meta['scene']:06d}-{sample.id[-1]}"
        assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))).meta == sample.meta


def test_what_is_said_of_a_sample_fits_its_files(tmp_path):
    for sample in samples(tmp_path, "vi", scenes=80, seed=2):
        (ref, *_), meta = sample.media, sample.meta
        if meta["kind"] == "video":
            paths = sorted(Path(ref.path).iterdir())
            assert [path.name for path in paths] == ["0.png", "1.png", "2.png", "3.png"]
            assert isinstance(ref, VideoRef) and ref.path.endswith(f"train-2/0000/{meta['scene']:06d}-video")
        else:
            paths = [Path(part.path) for part in sample.media]
            assert all(isinstance(part, ImageRef) and not part.marks for part in sample.media)
            assert paths[0].name == f"{meta['scene']:06d}-0.png"
        assert len(paths) == len(meta["objects"]) == {"pair": 2, "video": 4}.get(meta["kind"], 1)
        assert meta["pictured"] == max(len(things) for things in meta["objects"])
        named = {thing[0].removeprefix("noun:") for things in meta["objects"] for thing in things}
        assert meta["nouns"] == sorted(name for name in named if ":" not in name)
        for path in paths:
            with Image.open(path) as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")


def test_a_second_run_writes_the_same_bytes(tmp_path):
    samples(tmp_path, scenes=40)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    samples(tmp_path, scenes=40)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}


def test_the_style_split_draws_the_same_questions_anew(tmp_path):
    one, other = (samples(tmp_path, scenes=40, split=split) for split in ("composition", "style"))
    assert [[turn.text for turn in sample.turns] for sample in one] == [
        [turn.text for turn in sample.turns] for sample in other
    ]
    drawn = [sample for sample in zip(one, other, strict=True) if sample[0].meta["kind"] == "obj"]
    assert drawn
    assert all(Path(a.media[0].path).read_bytes() != Path(b.media[0].path).read_bytes() for a, b in drawn)


@pytest.mark.parametrize("code", SPEAKING)
def test_so_many_questions_of_every_skill(tmp_path, code):
    asked = request(tmp_path, code, per_skill=4, split="composition")
    found = list(world.read(asked))
    assert Counter(sample.meta["skill"] for sample in found) == dict.fromkeys(world.SKILLS, 4)
    assert world.count(asked) == len(found)
    assert world.count(request(tmp_path, scenes=4)) is None


def test_kinds_and_skills_can_be_chosen(tmp_path):
    found = samples(tmp_path, scenes=30, kinds={"one": 2, "word": 1}, skills=("name", "ocr"))
    assert {sample.meta["kind"] for sample in found} == {"one", "word"}
    assert len(found) == 30 and {sample.meta["skill"] for sample in found} == {"name", "ocr"}
    assert len(samples(tmp_path, scenes=30, questions=1)) == 30


def test_answers_are_in_the_words_of_the_language(tmp_path):
    scenes = language("vi").scenes
    nouns = {noun.row["vi"] for noun in world.nouns.table()}
    allowed = {
        "name": nouns, "box": nouns, "arrow": nouns, "new": nouns, "gone": nouns, "rel": nouns,
        "count": set(scenes.numbers), "countk": set(scenes.numbers), "where": set(scenes.quadrants),
        "has": {language("vi").yes[0], language("vi").no[0]}, "relyn": {language("vi").yes[0], language("vi").no[0]},
        "col": set(scenes.colours.values()), "shape": {shape["name"] for shape in scenes.shapes.values()},
        "move": set(scenes.directions.values()),
    }  # fmt: skip
    for sample in samples(tmp_path, "vi", per_skill=15):
        skill, answer = sample.meta["skill"], sample.turns[1].text
        if skill == "cap":
            assert answer.endswith(".") and set(answer[:-1].split(", ")) <= nouns
        elif skill == "ocr":
            assert answer.split(" ") == [thing[0].removeprefix("letter:") for thing in sample.meta["objects"][0]]
        else:
            assert answer in allowed[skill], (skill, answer)


def test_numbers_agree_with_the_noun_where_the_language_says_so():
    wording = world.Wording(language("pt"))
    noun = world.nouns.subset(20)[0]
    question = world.Question("countk", 2, 0.0, noun=noun)
    wording._forms[noun.cp] = {"n": "x", "number_2": "two of them"}
    assert wording.answer(question) == "two of them"
    assert wording.answer(replace(question, answer=3)) == wording.scenes.numbers[2]


def test_a_language_without_words_for_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "language", lambda code: replace(language(code), scenes=None))
    with pytest.raises(UserError, match="does not speak"):
        world.read(request(tmp_path, scenes=1))


def test_more_nouns_than_there_are_is_told(tmp_path):
    with pytest.raises(UserError, match="nouns, not 5000"):
        world.read(request(tmp_path, scenes=1, nouns=5000))


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "train-0").write_text("in the way")
    with pytest.raises(DiskError, match="cannot write a picture"):
        samples(tmp_path, scenes=1)


def test_llava_records_are_read_back(tmp_path):
    target = tmp_path / "world.json"
    asked = request(tmp_path / "images", scenes=40, seed=1)
    written = write_llava(asked, target)
    made = list(world.read(asked))
    records = json.loads(target.read_text(encoding="utf-8"))
    assert written == len(made) == len(records)
    back = list(llava.read(Request(target, llava.Options(), "pt", "back", tmp_path)))
    for sample, record, again in zip(made, records, back, strict=True):
        assert (record["id"], record["answer"], record["lang"]) == (again.id, again.turns[-1].text, "pt")
        assert (record["skill"], record["split"]) == (sample.meta["skill"], "train")
        assert again.turns[0].text.strip() == sample.turns[0].text
        assert len(again.media) == len(sample.meta["objects"])
        assert all(Path(ref.path).exists() for ref in again.media)
