"""Losses of token distributions: the objective, its engine, and what it is made of."""
