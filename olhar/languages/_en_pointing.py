"""How English instruction data speak of marks on an image."""

from olhar.languages import Pointing


def _places(preposition: str) -> tuple[str, str]:
    return f"{preposition} the {{mark}}", f"{preposition} {{mark}}"


SHORT_PHRASE = " Please provide a short phrase."

POINTING = Pointing(  # ViP-LLaVA's own words, but for the question after a relation
    name=lambda shape, colour: f"{colour} {shape}" if colour else shape,
    places={
        "rectangle": _places("within"),
        "ellipse": _places("within"),
        "triangle": _places("with"),
        "point": _places("at"),
        "scribble": _places("with"),
        "mask contour": _places("with"),
        "mask": _places("with"),
        "arrow": _places("pointed to by"),
    },
    region=(
        f"Describe the object with the visual prompt.{SHORT_PHRASE}",
        f"Describe the pointed region.{SHORT_PHRASE}",
        f"Describe the object {{place}}.{SHORT_PHRASE}",
    ),
    relation=(
        "What is the relationship between the object {first} and the object {second}? "
        "Answer with a short triplet: subject, relationship, object."
    ),
    unnamed=("the object {place}", "the instance {place}"),
    named="the {name} {place}",
    joined="{first} and {second}",
    exemplar="The exemplary object is {place}.",
    why=(
        "Why?",
        "Why do you think that?",
        "What makes you say that?",
        "What's your reasoning?",
        "What led you to that conclusion?",
        "Can you explain the basis for your thinking?",
    ),
    rationale=(
        "I give you a question and its answer, I need you to provide a rationale explaining why the answer is right. "
        '"{question}" The answer is "{answer}". What is the rationale for this decision?'
    ),
    caption=(
        "Please describe the image with the object referred to by the visual prompts; please do not mention the "
        "actual visual prompt.",
        "Describe the provided image using the semantic object referred to by the visual prompts. Please produce a "
        "sentence in natural language, and do not mention the actual visual prompts.",
    ),
    marked_caption=(
        "Please describe the image with the object referred to by the visual prompts; make sure to mention both the "
        "actual visual prompt and the semantic category.",
        "Please describe the image with the object referred to by the visual prompts; make sure to mention both the "
        "actual visual prompt, such as a red box, and the semantic category, such as a dog.",
    ),
    listed=("Hint: the visual prompts are: {marks}.", "The visual prompts are: {marks}."),
)
