"""Operators on reviewed labels: taught to a bank, accepted, exported."""
