"""The verbs of the command line, each a function that Python users call too."""
