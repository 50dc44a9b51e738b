"""Tokens that a family needs and a tokenizer may not know."""

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer


def add_tokens(tokenizer: Tokenizer, tokens: Iterable[str]) -> list[str]:
    """Make every token one id that no text around it can change; returns those that were not known before."""
    added = []
    for token in tokens:
        known = tokenizer.token_to_id(token)
        if known is None:
            added.append(token)
        if known is None or tokenizer.encode(f"a{token}b", add_special_tokens=False).ids.count(known) != 1:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
    return added
