"""SAM 2's mask decoder over many prompts of one image."""
