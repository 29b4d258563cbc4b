"""Judge backends: one module for each kind of judge, and their shared parts."""
