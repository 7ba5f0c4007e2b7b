from tests.support.ledgers import backend, empty_target, ledger, ledger_target

__all__ = ["backend", "empty_target", "ledger", "ledger_target"]
