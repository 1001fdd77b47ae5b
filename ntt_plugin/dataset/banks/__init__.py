"""Memory banks of a dataset: built, saved, changed and judged."""
