"""Train the tiny models' tokenizer on the corpus beside this file and store it there."""

from urbanvlm.models.tiny_tokenizer import CORPUS, TOKENIZER_FILE
from urbanvlm.models.tiny_tokenizer.train import train_tokenizer
from urbanvlm.records import write_atomic

if __name__ == "__main__":
    tokenizer = train_tokenizer(CORPUS.read_text(encoding="utf-8").splitlines())
    write_atomic(TOKENIZER_FILE, tokenizer.to_str() + "\n")
    print(f"{TOKENIZER_FILE}: {tokenizer.get_vocab_size()} tokens")
