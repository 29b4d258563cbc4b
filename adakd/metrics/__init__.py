"""The value of one answer, given its references. Needs no torch."""
