"""Labels scored against ground truth, or compared with each other."""
