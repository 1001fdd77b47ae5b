"""Proposals and a memory bank become instances."""
