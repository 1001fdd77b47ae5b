"""Runs over samples: proposals, segmentation and masks from boxes."""
