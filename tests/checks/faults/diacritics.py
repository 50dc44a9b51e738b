"""Text that lost its diacritics."""

from pathlib import Path

from tests.checks.planting import Fault, sample

PORTUGUESE = """
O gato preto dorme perto da janela enquanto o menino brinca com a bola no jardim da casa. A mesa tem um prato branco,
uma xicara de cafe e um livro aberto. Do lado direito aparece uma mulher de vestido vermelho que olha para a rua, onde
passam carros, bicicletas e um barco grande. O sol brilha e as nuvens brancas completam a cena tranquila da tarde em
uma cidade pequena do interior do Brasil, com pracas, igrejas e predios baixos.
"""


def faults(folder: Path) -> list[Fault]:
    said = [
        ("pt", "bare words", "Nao sei o que voce quer dizer."),
        ("vi", "bare words", "Trong anh khong co nguoi nao."),
        ("pt", "few letters", " ".join(PORTUGUESE.split())),
        ("vi", "few letters", "con meo den dang nam ngu tren ban go canh cua so va nhin ra san"),
    ]
    return [
        Fault(kind, "warning", [sample("user: ?", f"assistant: {text}", language=code)]) for code, kind, text in said
    ]
