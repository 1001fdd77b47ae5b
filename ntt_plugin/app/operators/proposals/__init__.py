"""Operators on cached proposals and networks."""
