"""Distillation losses: the objective, the engine that computes it, and their building blocks."""
