"""Matching: proposals and a memory bank in, instances out."""
