"""What is done with an image: read, segmented, made into labels."""
