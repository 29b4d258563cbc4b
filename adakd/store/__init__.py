"""The records of a run, appended to one file of JSON lines. Needs no torch."""

from adakd.store.store import Store, locked

__all__ = ["Store", "locked"]
