"""The ledger: facts about who was asked what, who answered what, and what was trained on it.

SQLite by default, PostgreSQL by URL. Facts are added, never changed or deleted; what can be
derived is not stored. Knows neither pixels nor the annotation tool nor Prefect.
"""
