"""Labels of a field: read, converted, written, with their masks."""
