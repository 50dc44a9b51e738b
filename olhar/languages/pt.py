"""Portuguese as spoken in Brazil."""

from collections.abc import Mapping

from olhar.languages import Checks, Language, Scenes, Translation
from olhar.languages._pt_pointing import POINTING

# Whole strings of one or two of the syllables below that would be rude.
NEVER_SPELL = """
cu cú cucu cocô cocó puta puto putã putá putô pica picã picá picô pipi pipí pila pito pitã piru rola rabo rata raba
foda fode fodê fodi fodo fodá fodã fuda fude fudê fudi fudo fudé caga cago cagá cagã cagô cagi cagê cona coná toba
tobá tobi teta tetá tetã teso tesa tesã tesô gala bobo boba tolo tola vaca sapa nega nego negã negô tara mona bota
botá mamá mama mamã sida reca peru bicá bilá
"""

STOPWORDS = """
a o as os um uma uns umas de do da dos das em no na nos nas por pelo pela para com sem que e ou mas se não é são
está estão foi ser ter há como mais muito seu sua ele ela eles isso este esta ao à também eu você nós aos às pelos
pelas elas lhe meu minha nosso nossa seus suas quem qual quando onde porque já só ainda até sobre entre depois antes
era eram foram tem têm fazer isto esse essa nem num numa
"""


def inflect(row: Mapping[str, str]) -> dict[str, str]:
    """The forms of one row of ``nouns.tsv``; gender decides article, contraction and interrogative."""
    noun, plural = row["pt"], row["pt_plural"]
    feminine = row["pt_gender"] == "f"
    return {
        "n": noun,
        "a_n": f"uma {noun}" if feminine else f"um {noun}",
        "the_n": f"a {noun}" if feminine else f"o {noun}",
        "of_the_n": f"da {noun}" if feminine else f"do {noun}",
        "how_many_n": f"quantas {plural}" if feminine else f"quantos {plural}",
        **({"number_1": "uma", "number_2": "duas"} if feminine else {}),
    }


def _shape(name: str) -> dict[str, str]:
    """All four shapes are masculine."""
    return {"name": name, "the_name": f"o {name}", "of_the_name": f"do {name}"}


SCENES = Scenes(
    noun="pt",
    questions={
        "name": ("O que é isto?", "O que aparece na imagem?"),
        "cap": ("Descreva a imagem.",),
        "count": ("Quantos objetos há?",),
        "countk": ("{how_many_n} há?",),
        "has": ("Há {a_n} na imagem?",),
        "where": ("Onde está {the_n}?",),
        "rel": ("O que está {relation}?",),
        "relyn": ("{the_n} está {relation}?",),
        "col": ("Qual é a cor {of_the_shape}?",),
        "shape": ("Que objeto é {colour}?",),
        "ocr": ("Que palavra está escrita?",),
        "box": ("O que está dentro da caixa vermelha?",),
        "arrow": ("Para o que a seta aponta?",),
        "new": ("O que há na segunda imagem que não há na primeira?",),
        "gone": ("O que sumiu da primeira para a segunda imagem?",),
        "move": ("Para onde se move o objeto?",),
    },
    inflect=inflect,
    quadrants=(
        "em cima à esquerda",
        "em cima à direita",
        "embaixo à esquerda",
        "embaixo à direita",
    ),
    relations={
        "left": "à esquerda {of_the_n}",
        "right": "à direita {of_the_n}",
        "above": "acima {of_the_n}",
        "below": "abaixo {of_the_n}",
    },
    directions={"right": "direita", "left": "esquerda", "up": "cima", "down": "baixo"},
    shapes={
        "square": _shape("quadrado"),
        "circle": _shape("círculo"),
        "triangle": _shape("triângulo"),
        "diamond": _shape("losango"),
    },
    colours={
        "red": "vermelho",
        "blue": "azul",
        "green": "verde",
        "yellow": "amarelo",
        "purple": "roxo",
        "orange": "laranja",
        "black": "preto",
        "pink": "rosa",
    },
    numbers=("um", "dois", "três", "quatro"),
    syllables=(tuple("bcdfglmnprstv"), tuple("aeiouáéíóúãõâêô")),
    never_spell=frozenset(NEVER_SPELL.split()),
)

# Without its accent each of these is no word. Left out are those that become another one: "é", "às", "está", "país",
# "início", "manhã".
NEVER_BARE = """
não são estão você vocês também até após já será serão três então água além tão possível difícil último última
números países política polícia sábado mês segurança crianças questão razão irmão mãe pão região informação relação
situação opinião família história próximo próxima vários várias líder ninguém alguém porém através ônibus avião cão
cães chão mãos coração direção árvore árvores óculos céu chapéu
"""

CHECKS = Checks(
    letters=frozenset("áàâãçéêíóôõú"),
    accented=0.13,
    never_bare=frozenset(NEVER_BARE.split()),
    endings=("ão", "ões", "ães", "ável", "ível", "áveis", "íveis"),
    length=1.07,
)

ABBREVIATIONS = """
cel dr dra dras drs eng ex exma exmo gen p.ex prof profa profª sgto sr sra sras srs srta séc ten v.g vs
"""

ENDING_ABBREVIATIONS = """
a.c abr ago al av cia d.c dez etc fev jan jr jul jun ltda mar nov out r s.a set
"""

SHORT_ANSWERS: dict[str, tuple[str, ...]] = {
    "yes": ("sim",),
    "no": ("não", "nao"),
    "unanswerable": ("irrespondível",),
    "none": ("nenhum", "nenhuma"),
    "nothing": ("nada",),
    "both": ("ambos", "ambas"),
    "neither": ("nenhum dos dois", "nenhuma das duas"),
    "true": ("verdadeiro", "verdadeira"),
    "false": ("falso", "falsa"),
    "left": ("esquerda",),
    "right": ("direita",),
    "top": ("em cima",),
    "bottom": ("embaixo",),
    "center": ("centro",),
    "middle": ("meio",),
    "day": ("dia",),
    "night": ("noite",),
    "indoors": ("em ambiente interno",),
    "outdoors": ("ao ar livre",),
    "red": ("vermelho", "vermelha"),
    "blue": ("azul",),
    "green": ("verde",),
    "yellow": ("amarelo", "amarela"),
    "black": ("preto", "preta"),
    "white": ("branco", "branca"),
    "gray": ("cinza",),
    "brown": ("marrom",),
    "orange": ("laranja",),
    "purple": ("roxo", "roxa"),
    "pink": ("rosa",),
    "beige": ("bege",),
    "silver": ("prateado", "prateada"),
    "gold": ("dourado", "dourada"),
    "zero": ("zero",),
    "one": ("um", "uma"),
    "two": ("dois", "duas"),
    "three": ("três",),
    "four": ("quatro",),
    "five": ("cinco",),
    "six": ("seis",),
    "seven": ("sete",),
    "eight": ("oito",),
    "nine": ("nove",),
    "ten": ("dez",),
    "eleven": ("onze",),
    "twelve": ("doze",),
}

TRANSLATION = Translation(
    stop=".",
    question="?",
    quotes=(('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»")),
    elisions=frozenset({"cê", "tá", "tava", "tô"}),
    abbreviations=frozenset(ABBREVIATIONS.split()),
    ending_abbreviations=frozenset(ENDING_ABBREVIATIONS.split()),
    numbered=frozenset({"art", "cap", "fig", "figs", "n", "nº", "p", "pp", "pág", "págs", "tel", "vol"}),
    labelled=("opção", "alternativa", "letra", "figura", "painel", "ponto", "item"),
    joiners=("e", "ou"),
    capitals=frozenset(),
    short_answers=SHORT_ANSWERS,
    instructions={
        "single_word": ("Responda à pergunta usando uma única palavra ou expressão",),
        "option_letter": ("Responda diretamente com a letra da opção, dentre as alternativas apresentadas",),
        "yes_or_no": ("Responda sim ou não",),
        "short_words": ("Se possível, responda à pergunta com palavras ou expressões curtas",),
        "letter_at_end": (
            "Responda à pergunta e indique, ao final, a letra da opção correta, por exemplo, A, B, C, D",
        ),
        "from_options": ("Selecione a resposta correta dentre as opções acima",),
        "insufficient": ("Quando as informações fornecidas forem insuficientes, responda 'Irrespondível'",),
        "one_sentence": ("Escreva uma legenda de uma frase para a imagem apresentada",),
        "describe_region": ("Faça uma descrição curta desta região",),
        "find_region": ("Indique as coordenadas da caixa delimitadora da região que esta frase descreve",),
        "ocr_tokens": ("Tokens de OCR de referência",),
    },
)

LANGUAGE = Language(
    code="pt",
    name="Portuguese",
    own_name="Português",
    yes=("sim", "s", "certo", "correto", "verdadeiro", "exato", "positivo"),
    no=(
        "não",
        "nao",
        "n",
        "nunca",
        "jamais",
        "errado",
        "incorreto",
        "falso",
        "negativo",
        "nenhum",
        "nenhuma",
    ),
    options=tuple("ABCDEFGHI"),
    articles=frozenset({"a", "e", "o", "à", "é"}),
    answer_cues=(
        "a resposta correta é",
        "a resposta certa é",
        "a resposta é",
        "resposta correta",
        "resposta final",
        "resposta",
        "a alternativa correta é",
        "a alternativa certa é",
        "alternativa correta",
        "alternativa",
        "a opção correta é",
        "a opção certa é",
        "opção correta",
        "opção",
        "letra",
        "item",
        "gabarito",
        "escolho",
        "marco",
    ),
    roles={"user": "Usuário", "assistant": "Assistente", "human": "Pessoa"},
    system={
        "assistant": (
            "Um bate-papo entre um usuário curioso e um assistente de inteligência artificial. "
            "O assistente dá respostas úteis, detalhadas e educadas às perguntas do usuário."
        ),
        "human": (
            "Um bate-papo entre uma pessoa curiosa e um assistente de inteligência artificial. "
            "O assistente dá respostas úteis, detalhadas e educadas às perguntas da pessoa."
        ),
        "vision": (
            "Você é um assistente prestativo de linguagem e visão. Você entende o conteúdo visual que o usuário "
            "fornece e o ajuda em diversas tarefas usando linguagem natural."
        ),
        "qwen": "Você é um assistente prestativo.",
        "mpt": ("Uma conversa entre um usuário e um assistente de IA. O assistente dá respostas úteis e honestas."),
        "direct": "Responda às perguntas.",
    },
    labels={"image": "Imagem", "frame": "Quadro"},
    describe="Descreva a imagem.",
    scripts=frozenset({"Latin"}),
    stopwords=frozenset(STOPWORDS.split()),
    engine_codes={
        "apertium": "pt_BR",
        "nllb": "por_Latn",
        "madlad": "pt",
        "opus": "pob",
        "google": "pt",
        "deepl": "PT-BR",
        "openai": "Brazilian Portuguese",
    },
    checks=CHECKS,
    pointing=POINTING,
    translation=TRANSLATION,
    scenes=SCENES,
)
