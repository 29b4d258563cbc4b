"""Instruction data: rows from files, the hub or the built-in generator, and their prompts."""

from adakd.data.prompts import prompt_of
from adakd.data.rows import Row, read_rows

__all__ = ["Row", "prompt_of", "read_rows"]
