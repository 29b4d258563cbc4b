"""The sections of the report about scores, costs and trainings: one file a section."""
