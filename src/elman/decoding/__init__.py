"""Decoding: from the outputs of a model to sequences of symbols."""
