"""Images, audio and video as arrays."""
