"""Where torch computes: devices, threads, batches that fit in memory."""
