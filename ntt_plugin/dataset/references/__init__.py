"""References: which labels they are, how they are sampled and kept."""
