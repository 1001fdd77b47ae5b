"""Proposals of an image: masks with their features, and their cache on disk."""
