"""The programs of exported applications. Each is copied as `predict.py`; they share nothing and import nothing of ours."""
