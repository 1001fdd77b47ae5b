"""What a worker does with an image, without FiftyOne: item in, finished bytes out."""
