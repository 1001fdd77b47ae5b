"""Masks at the image's own size: packed, compressed, with their boxes."""
