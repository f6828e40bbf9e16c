"""Pairs of texts with a similarity: readers, data set and batches."""
