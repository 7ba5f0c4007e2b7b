"""Facts in files and facts in the ledger, in the same words."""
