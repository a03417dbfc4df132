"""Fine-tuning: a plain loop over DeepSpeed's engine, with checkpoints from which it resumes bit-identically."""
