"""The target `web`: a run as a folder of static files that answers in a browser."""
