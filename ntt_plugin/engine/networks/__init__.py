"""The two networks: found, downloaded, checked, loaded and run."""
