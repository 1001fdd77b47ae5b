"""Operators on references and negatives."""
