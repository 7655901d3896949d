"""Serving a model and its adapters: batched decoding in one thread, an OpenAI-compatible API in front of it."""
