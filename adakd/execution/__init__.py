"""Runs a plan, cell by cell."""
