"""The memory bank: features of references by class, and its file."""
