"""Sessions of events: readers, data set and batches."""
