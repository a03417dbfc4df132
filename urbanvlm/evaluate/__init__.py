"""From a model to honest scores: predict one shard, parse the texts, score the answers."""
