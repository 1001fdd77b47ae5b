"""Collections of samples: what may be given, and which labels are chosen."""
