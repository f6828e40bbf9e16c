"""Programs of exported applications: each is copied as `predict.py`, shares nothing, and imports nothing of ours."""
