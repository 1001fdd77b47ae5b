"""Operators on fields of labels: written, scored, compared."""
