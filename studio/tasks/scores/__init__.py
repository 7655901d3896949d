"""Scores of answers against references. Nothing here imports torch, so saved answers can be scored anywhere."""
