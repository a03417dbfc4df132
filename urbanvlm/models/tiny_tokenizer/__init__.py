"""The vocabulary of the tiny models: `words.txt`, and `tokenizer.json`, which is made from it and shipped.

After a change of the words: `python -m urbanvlm.models.tiny_tokenizer`.
"""

from pathlib import Path

WORDS_FILE = Path(__file__).with_name("words.txt")
TOKENIZER_FILE = Path(__file__).with_name("tokenizer.json")
