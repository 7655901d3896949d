"""What happens inside a job's process: the only place for torch, transformers, trl, peft, bitsandbytes, datasets."""
