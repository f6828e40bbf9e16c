"""Parallel text: readers, vocabularies, data set and batches."""
