"""Capture of what runs through recurrent layers: recording, and the replay of every step."""
