"""What runs over samples share: caches, threads, progress, and work done here or by workers."""
