"""Scoring: lm-eval drives all generation and likelihoods, in process."""
