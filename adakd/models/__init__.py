"""Models and tokenizers: loading, forward passes, generation."""
