"""Labels written to files of other formats, exact to the pixel."""
