"""Lines of text to a tokenizer in which every word of them is one token, and all else is spelt in bytes."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<image>")
"""in the order of their ids, from 0"""
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))

WORD = Regex(r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+")
"""a word, a digit or a sign, each with the space before it: a number is read digit by digit"""


def make_tokenizer(lines: Sequence[str]) -> Tokenizer:
    """A Unigram model with given scores, so nothing is trained; any text comes back as it went in.

    A word at the start of a line is known without a space before it, the others with one. Byte-pair encoding would
    need a token for every step towards a word, and the output layer is a third of a tiny model's work.
    """
    split = pre_tokenizers.Split(WORD, behavior="isolated")
    words = dict.fromkeys(word for line in lines for word, _ in split.pre_tokenize_str(line))
    scores = {**dict.fromkeys(SPECIAL_TOKENS, 0.0), **dict.fromkeys(BYTES, -10.0), **dict.fromkeys(words, -1.0)}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=0, byte_fallback=True))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer
