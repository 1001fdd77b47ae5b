"""FiftyOne samples in, labels out: references, memory banks, segmentation, evaluation."""
