"""Images in: files, arrays and PIL images become RGB pixels."""
