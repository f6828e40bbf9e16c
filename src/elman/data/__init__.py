"""Files to batches: a room for each task, beside what they share."""
