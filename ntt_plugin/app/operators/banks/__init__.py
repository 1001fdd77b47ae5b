"""Operators on memory banks."""
