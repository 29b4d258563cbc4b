"""Ways to get verdicts: one file a kind of judge, and what the kinds share."""
