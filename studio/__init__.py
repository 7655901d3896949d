"""Studio: a training studio for language models in the browser."""

__version__ = "0.1.0"
