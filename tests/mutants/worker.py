"""Runs pytest in forks of a process that has imported what takes long, and nothing of the project.

`python worker.py MODULE ...`, the modules being what to import first. One line of JSON in, `[file
for the output, whether bytecode is kept, arguments of pytest ...]`; one line out, the exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import pytest

PACKAGES = ("pipeline", "db", "flows", "tests")
FOREIGN = 90


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _play(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _play(output: str, keep_bytecode: bool, *arguments: str) -> None:
    """Does not return; FOREIGN where something of the project came from elsewhere."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if not keep_bytecode:  # a mutant's must not outlive it
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    code = int(pytest.main(list(arguments)))
    here = os.path.realpath(os.curdir)
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in PACKAGES and file and not file.startswith(f"{here}/"):
            print(f"{name} was imported from {file}, outside {here}")
            code = FOREIGN
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
