"""Speech: transcripts, features, data set and batches."""
