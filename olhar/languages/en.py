"""English."""

from collections.abc import Mapping

from olhar.languages import Language, Scenes

# Whole strings of one or two of the syllables below that would be rude.
NEVER_SPELL = """
ho hor tet rape rapi rapal pedo homo dago nego nega nigo niga nigor nigu negal pube pubi titi tite titu tito caca
pipi pupu pupi cume cumi cumo cumin fuca fuco fucal fucor fucon fucin fucen fagi fago fagu fagal fagin fagan faget
dilo dicin dicen lude nude nudi rude sadi pima homon penin peni vagin poron horo horal hore hola cunet cunel cunal
sodo hobo moron moro paget gipo bitin toret dope hitel puta puto sinal
"""

STOPWORDS = """
the a an and or but of in on at to for from with by is are was were be been has have had it its this that these
those there he she they his her their which who what not as if can will would
"""


def inflect(row: Mapping[str, str]) -> dict[str, str]:
    """The forms of one row of ``nouns.tsv``; the article column says ``a``, ``an`` or nothing (mass nouns)."""
    noun = row["en"]
    return {
        "n": noun,
        "a_n": f"{row['en_article']} {noun}".strip(),
        "the_n": f"the {noun}",
        "of_the_n": f"of the {noun}",
        "how_many_n": f"how many {row['en_plural']}",
    }


def _shape(name: str) -> dict[str, str]:
    return {"name": name, "the_name": f"the {name}", "of_the_name": f"of the {name}"}


SCENES = Scenes(
    noun="en",
    questions={
        "name": ("What is this?", "What is in the image?"),
        "cap": ("Describe the image.",),
        "count": ("How many objects are there?",),
        "countk": ("{how_many_n} are there?",),
        "has": ("Is there {a_n} in the image?",),
        "where": ("Where is {the_n}?",),
        "rel": ("What is {relation}?",),
        "relyn": ("Is {the_n} {relation}?",),
        "col": ("What colour is {the_shape}?",),
        "shape": ("Which shape is {colour}?",),
        "ocr": ("What word is written?",),
        "box": ("What is inside the red box?",),
        "arrow": ("What is the arrow pointing at?",),
        "new": ("What is in the second image that is not in the first?",),
        "gone": ("What is gone in the second image?",),
        "move": ("Which way does the object move?",),
    },
    inflect=inflect,
    quadrants=("top left", "top right", "bottom left", "bottom right"),
    relations={
        "left": "to the left {of_the_n}",
        "right": "to the right {of_the_n}",
        "above": "above {the_n}",
        "below": "below {the_n}",
    },
    directions={"right": "right", "left": "left", "up": "up", "down": "down"},
    shapes={
        "square": _shape("square"),
        "circle": _shape("circle"),
        "triangle": _shape("triangle"),
        "diamond": _shape("diamond"),
    },
    colours={
        "red": "red",
        "blue": "blue",
        "green": "green",
        "yellow": "yellow",
        "purple": "purple",
        "orange": "orange",
        "black": "black",
        "pink": "pink",
    },
    numbers=("one", "two", "three", "four"),
    # Only letters that the lettering font carries (it is a subset): no k, w, y, z.
    syllables=(
        tuple("bcdfghlmnprstv"),
        ("a", "e", "i", "o", "u", "an", "en", "in", "on", "et", "al", "el", "or"),
    ),
    never_spell=frozenset(NEVER_SPELL.split()),
)

LANGUAGE = Language(
    code="en",
    name="English",
    own_name="English",
    yes=("yes", "y", "yeah", "yep", "yup", "true", "correct", "affirmative"),
    no=("no", "n", "nope", "nah", "never", "false", "incorrect", "wrong", "negative"),
    options=tuple("ABCDEFGHI"),
    articles=frozenset({"a", "i"}),
    answer_cues=(
        "the correct answer is",
        "the best answer is",
        "the answer is",
        "correct answer is",
        "best answer is",
        "answer is",
        "the correct option is",
        "the best option is",
        "correct option is",
        "best option is",
        "the correct choice is",
        "correct choice is",
        "the choice is",
        "choice is",
        "my answer is",
        "my choice is",
        "i choose",
        "i select",
        "i pick",
        "answer",
        "option",
        "choice",
    ),
    roles={"user": "USER", "assistant": "ASSISTANT", "human": "Human"},
    system={
        "assistant": (
            "A chat between a curious user and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the user's questions."
        ),
        "human": (
            "A chat between a curious human and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the human's questions."
        ),
        "vision": (
            "You are a helpful language and vision assistant. You are able to understand the visual content that the "
            "user provides, and assist the user with a variety of tasks using natural language."
        ),
        "qwen": "You are a helpful assistant.",
        "mpt": (
            "A conversation between a user and an LLM-based AI assistant. "
            "The assistant gives helpful and honest answers."
        ),
        "direct": "Answer the questions.",
    },
    labels={"image": "Image", "frame": "Frame"},
    describe="Describe the image.",
    scripts=frozenset({"Latin"}),
    stopwords=frozenset(STOPWORDS.split()),
    engine_codes={
        "apertium": "eng",
        "nllb": "eng_Latn",
        "madlad": "en",
        "opus": "eng",
        "google": "en",
        "deepl": "EN-US",
        "openai": "English",
    },
    scenes=SCENES,
)
