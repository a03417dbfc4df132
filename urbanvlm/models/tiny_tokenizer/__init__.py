"""The tokenizer of the tiny models: trained on `corpus.txt` once, shipped as `tokenizer.json`.

After a change of the corpus: `python -m urbanvlm.models.tiny_tokenizer`.
"""

from pathlib import Path

CORPUS = Path(__file__).with_name("corpus.txt")
TOKENIZER_FILE = Path(__file__).with_name("tokenizer.json")
