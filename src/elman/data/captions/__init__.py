"""Captioned pictures: readers, splits, data set and batches."""
