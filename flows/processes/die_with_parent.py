"""Run a command that cannot outlive whoever started it: `python die_with_parent.py COMMAND...`.

Standard input is the lifeline. When its other end closes, by a kill -9 of the parent too, the
whole process group is killed. Standard library only, so that it starts in about 20 ms.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _kill_group_when_parent_is_gone() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """The command's exit code, 128 + n when signal n ended it."""
    if os.getpgrp() != os.getpid():
        print("die_with_parent: start it as the leader of its own process group", file=sys.stderr)
        return 2
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as child:
        threading.Thread(target=_kill_group_when_parent_is_gone, daemon=True).start()
        code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
