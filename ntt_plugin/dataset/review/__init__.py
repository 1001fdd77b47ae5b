"""Predictions tried, judged by a person, handed on and taught."""
