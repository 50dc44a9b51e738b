"""How Portuguese instruction data speak of marks on an image: translated from English, awaiting a native reader."""

from olhar.languages import Pointing

MARK_NOUNS = {  # and whether they are feminine
    "rectangle": ("retângulo", False),
    "ellipse": ("elipse", True),
    "triangle": ("triângulo", False),
    "point": ("ponto", False),
    "scribble": ("rabisco", False),
    "mask contour": ("contorno da máscara", False),
    "mask": ("máscara", True),
    "arrow": ("seta", True),
}
MARK_COLOURS = {  # masculine, feminine
    "red": ("vermelho", "vermelha"),
    "lime": ("verde-limão", "verde-limão"),
    "blue": ("azul", "azul"),
    "yellow": ("amarelo", "amarela"),
    "fuchsia": ("fúcsia", "fúcsia"),
    "aqua": ("ciano", "ciano"),
    "orange": ("laranja", "laranja"),
    "purple": ("roxo", "roxa"),
    "gold": ("dourado", "dourada"),
}


def name_mark(shape: str, colour: str | None) -> str:
    """The colour stands behind the noun and agrees with it."""
    noun, feminine = MARK_NOUNS[shape]
    return f"{noun} {MARK_COLOURS[colour][feminine]}" if colour else noun


POINTING = Pointing(
    name=name_mark,
    places={  # always with an article: without it they are not said
        "rectangle": ("dentro do {mark}",),
        "ellipse": ("dentro da {mark}",),
        "triangle": ("com o {mark}",),
        "point": ("no {mark}",),
        "scribble": ("com o {mark}",),
        "mask contour": ("com o {mark}",),
        "mask": ("com a {mark}",),
        "arrow": ("para onde aponta a {mark}",),
    },
    region=(
        "Descreva o objeto indicado pela marca visual. Responda com uma expressão curta.",
        "Descreva a região indicada. Responda com uma expressão curta.",
        "Descreva o objeto {place}. Responda com uma expressão curta.",
    ),
    relation=(
        "Qual é a relação entre o objeto {first} e o objeto {second}? "
        "Responda com um trio curto: sujeito, relação, objeto."
    ),
    unnamed=("o objeto {place}", "o elemento {place}"),
    named="{name} {place}",  # without its article: the class comes without its gender
    joined="{first} e {second}",
    exemplar="O objeto de exemplo está {place}.",
    why=(
        "Por quê?",
        "Por que você acha isso?",
        "O que faz você dizer isso?",
        "Qual é o seu raciocínio?",
        "O que levou você a essa conclusão?",
        "Você pode explicar em que se baseia?",
    ),
    rationale=(
        "Dou a você uma pergunta e a sua resposta; explique por que a resposta está certa. "
        "“{question}” A resposta é “{answer}”. Qual é a justificativa dessa decisão?"
    ),
    caption=(
        "Descreva a imagem com o objeto indicado pelas marcas visuais; não mencione as marcas.",
        "Descreva a imagem apresentada usando o objeto indicado pelas marcas visuais. Escreva uma frase em linguagem "
        "natural e não mencione as marcas.",
    ),
    marked_caption=(
        "Descreva a imagem com o objeto indicado pelas marcas visuais; mencione tanto a marca quanto a categoria.",
        "Descreva a imagem com o objeto indicado pelas marcas visuais; mencione tanto a marca, por exemplo uma caixa "
        "vermelha, quanto a categoria, por exemplo um cachorro.",
    ),
    listed=("Dica: as marcas visuais são: {marks}.", "As marcas visuais são: {marks}."),
)
