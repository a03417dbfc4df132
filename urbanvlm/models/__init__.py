"""The model families behind one protocol: real checkpoints by name or folder, tiny ones from random weights."""
