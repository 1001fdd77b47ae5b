"""What any run needs beside its work: caches, threads, progress."""
