"""Text: documents, vocabularies, token files, streams for truncated backpropagation."""
