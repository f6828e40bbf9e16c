"""Models: the networks of the eight applications."""
