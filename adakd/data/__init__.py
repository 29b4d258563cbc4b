"""Instruction data from files, the hub or the built-in generator, and its prompts."""

from adakd.data.instructions import Row, read_file, read_rows
from adakd.data.prompts import prompt_of

__all__ = ["Row", "prompt_of", "read_file", "read_rows"]
