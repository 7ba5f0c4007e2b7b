from tests.ledgers import backend, empty_target, ledger, ledger_target
from tests.pipeline.conftest import make_workspace, tiny_params

__all__ = ["backend", "empty_target", "ledger", "ledger_target", "make_workspace", "tiny_params"]
