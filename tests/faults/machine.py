"""What happens to the workspace and its machine: disk, clock, locks, hands in the files."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image

from tests.faults.answers import asked
from tests.faults.people import pixels, truth
from tests.faults.scene import CannotPlayError, Scene

SMALL = "64M"  # of a disk that a filler then fills
LEFT_KB = 400  # at most
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


@contextmanager
def small_disk(scene: Scene) -> Iterator[Path]:
    """The workspace on a disk of its own; yields the file that fills it up."""
    disk = scene.root.parent / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True).returncode:
        raise CannotPlayError("no tmpfs can be mounted here (root may)")
    try:
        scene.root = Path(shutil.move(scene.root, disk / scene.root.name))
        yield disk / "filler"
    finally:
        scene.leave = partial(subprocess.run, ["umount", "--lazy", str(disk)], check=True)


def disk_full(scene: Scene, *, merging: bool) -> None:
    """A few kB are left for one tick; then there is room again."""
    if merging:
        scene.publish_and_answer()
    with small_disk(scene) as filler:
        left = int(scene.rng.integers(LEFT_KB)) * 1024
        free = shutil.disk_usage(filler.parent).free
        filler.write_bytes(b"\0" * max(0, free - left))
        scene.struck += 1
        scene.tick()
        filler.unlink()
        scene.settle()


def ledger_deleted(scene: Scene) -> None:
    first, *_ = asked(scene)
    scene.people.answer(first, 0)
    scene.tick()
    for file in (scene.root / ".ssl-loop").glob("ledger.db*"):
        file.unlink()
    scene.tick()
    scene.settle()


def inbox_deleted(scene: Scene) -> None:
    first, *_ = asked(scene)
    scene.people.answer(first, 0)
    scene.tick()
    shutil.rmtree(scene.root / ".ssl-loop/inbox")
    scene.settle()


def dvc_lock_emptied(scene: Scene) -> None:
    """As a kill of DVC leaves it, rarely."""
    scene.publish_and_answer()
    lock = scene.root / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(str(scene.rng.choice(["", "{", "null", "[]"])))
    scene.tick()
    scene.settle()


def git_lock_left(scene: Scene) -> None:
    """Another program's git died while it wrote."""
    scene.publish_and_answer()
    lock = scene.root / ".git/index.lock"
    lock.touch()

    def mend(_: Scene, message: str) -> bool:
        named = "index.lock" in message
        if named:
            lock.unlink(missing_ok=True)
        return named

    scene.mend = mend
    scene.tick()
    scene.settle()


def head_elsewhere(scene: Scene) -> None:
    """Somebody looks back at a tag while people answer."""
    asked(scene)
    scene.git("checkout", "--quiet", "day/ingest")

    def mend(scene: Scene, message: str) -> bool:
        named = "git checkout main" in message or "git switch main" in message
        if named:
            scene.git("checkout", "--quiet", "main")
        return named

    scene.mend = mend
    scene.people.answer_all()
    scene.tick()
    scene.settle()


def domain_edited(scene: Scene) -> None:
    """`domain` in params.yaml changed by hand in mid-round, put back when the loop says so."""
    asked(scene)
    scene.people.answer_all()
    file = scene.root / "params.yaml"
    good = file.read_text()
    file.write_text(good.replace("\ndomain: day", "\ndomain: night"))

    def mend(_: Scene, message: str) -> bool:
        named = "domain" in message and "params.yaml" in message
        if named:
            file.write_text(good)
        return named

    scene.mend = mend
    scene.tick()
    scene.settle()


def clock_for_one_tick(scene: Scene, shift: str) -> None:
    """The machine's clock is wrong for one tick, with answers that are not there yet."""
    library = next(iter(Path("/").glob(FAKETIME.lstrip("/"))), None)
    if library is None:
        raise CannotPlayError("no libfaketime here (apt-get install faketime)")
    first, *_ = asked(scene)
    scene.people.answer(first, 0)
    env = {**os.environ, "LD_PRELOAD": str(library), "FAKETIME": shift, "FAKETIME_NO_CACHE": "1"}
    program = Path(sys.executable).with_name("ssl-loop")
    argv = [str(program), "run", "--local"]
    done = subprocess.run(argv, cwd=scene.root, env=env, capture_output=True, text=True)
    scene.said.append(f"{shift}: {done.stdout[-300:]} {done.stderr[-300:]}")
    scene.struck += 1
    scene.people.answer_all()
    scene.settle(to_round=9)  # until the campaign is finished


def mended_by_hand(scene: Scene) -> None:
    """A merged mask painted over in an image editor and committed: it counts, or it is refused."""
    scene.publish_and_answer()
    scene.settle()
    answer = scene.people.book[int(scene.rng.integers(3))]
    rows = list(csv.DictReader((scene.root / "data/manifest.csv").open()))
    (row,) = [r for r in rows if pixels(scene.root / r["image"]) == answer.seen]
    file = scene.root / row["mask"]
    Image.fromarray(truth(answer.seen, 3)).save(file)
    old, new = row["mask_sha256"], hashlib.sha256(file.read_bytes()).hexdigest()
    manifest = scene.root / "data/manifest.csv"
    manifest.write_text(manifest.read_text().replace(old, new))
    dvc = str(Path(sys.executable).with_name("dvc"))
    subprocess.run([dvc, "add", "-q", "data/day/masks"], cwd=scene.root, check=True)
    scene.git("commit", "--quiet", "-am", "A mask mended by hand")
    commit = scene.git("rev-parse", "HEAD").strip()
    scene.people.by_hand[answer.seen] = 3

    def mend(scene: Scene, message: str) -> bool:
        named = commit[:7] in message
        if named:
            scene.git("revert", "--no-edit", commit)
            subprocess.run([dvc, "checkout", "-q", "--force"], cwd=scene.root, check=True)
            del scene.people.by_hand[answer.seen]
        return named

    scene.mend = mend
    scene.settle(to_round=1)


KINDS: dict[str, Callable[[Scene], None]] = {
    "disk full, sending": partial(disk_full, merging=False),
    "disk full, merging": partial(disk_full, merging=True),
    "ledger deleted": ledger_deleted,
    "inbox deleted": inbox_deleted,
    "DVC's lock file emptied": dvc_lock_emptied,
    "git's index.lock left": git_lock_left,
    "HEAD at a tag": head_elsewhere,
    "params.domain edited": domain_edited,
    "clock 8 days ahead for a tick": partial(clock_for_one_tick, shift="+8d"),
    "clock 8 days behind for a tick": partial(clock_for_one_tick, shift="-8d"),
    "a merged mask mended by hand": mended_by_hand,
}
