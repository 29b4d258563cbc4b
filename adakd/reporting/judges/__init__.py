"""The section of the report about win rates, and its parts."""
