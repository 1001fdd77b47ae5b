"""Operators on kept proposals and the networks."""
