"""What a prompt writes, inside a turn."""

from pathlib import Path

from tests.checks.planting import Fault, sample, translated

TOKENS = ("<|im_end|>", "</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<|user|>", "<end_of_turn>", "<|endoftext|>")
WORDS = (
    "USER:",
    "ASSISTANT:",
    "Assistant:",
    "Usuário:",
    "Assistente:",
    "Người dùng:",
    "Trợ lý:",
    "用户：",
    "### Assistant:",
)


def faults(folder: Path) -> list[Fault]:
    def said(text: str) -> list:
        return [sample("user: Q", f"assistant: {text}")]

    return [
        *(Fault("special token", "error", said(f"A cat.{token}")) for token in TOKENS),
        *(Fault("role word", "warning", said(f"A cat.\n{word} And?")) for word in WORDS),
        Fault("role word", "warning", said("A cat. USER: And?")),
        Fault("role word", "warning", said("Human: Q\nAssistant: A")),
        translated("role word", "warning", ("Q", "A cat."), ("Q", "Um gato.\nUsuário: e?")),
    ]
