"""What runs an operator: its base class, progress, errors, the page of results."""
