"""The panel Memory banks: what is there, what it looks like, and what to do next."""
