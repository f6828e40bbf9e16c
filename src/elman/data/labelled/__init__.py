"""Labelled sequences: readers, preparation, data set and batches."""
