"""Generated scenes and the bundled tiny networks: the whole path, offline."""
