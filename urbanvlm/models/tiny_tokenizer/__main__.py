"""Make the tiny models' tokenizer from the words beside this file and store it there."""

from urbanvlm.models.tiny_tokenizer import TOKENIZER_FILE, WORDS_FILE
from urbanvlm.models.tiny_tokenizer.make import make_tokenizer
from urbanvlm.records import write_atomic

if __name__ == "__main__":
    tokenizer = make_tokenizer(WORDS_FILE.read_text(encoding="utf-8").splitlines())
    write_atomic(TOKENIZER_FILE, tokenizer.to_str() + "\n")
    print(f"{TOKENIZER_FILE}: {tokenizer.get_vocab_size()} tokens")
