"""Everything that reads what people, tools and crashes leave: one row each.

A row says what a valid file is and how it is read. Whatever lies there instead, the reader gives a
value or one error of ours; `tests/fuzz/judge.py` holds it to that.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.ledger.records import record_of
from flows.processes.command import group_token
from flows.services.daemon import RECORD, read_daemons
from flows.services.prefect_server import api
from flows.watch.log import WatchLog
from flows.workspace.credentials import SECRETS, credentials
from flows.workspace.dvc.dvc_cache import Cache, Out
from flows.workspace.dvc.dvc_config import parse
from flows.workspace.dvc.dvc_files import locked_stages, not_pushed, outs_of
from flows.workspace.dvc.dvc_locks import RWLOCK, release_dead_holders
from flows.workspace.params_file import check_changes
from pipeline import layout
from pipeline.campaign import annotation_time, forgetting, stopping
from pipeline.config.params import load_params
from pipeline.data.formats.csv_tables import read_classes, read_splits
from pipeline.data.labelled_folder import split_rows
from pipeline.deploy.share_table import ShareTable
from pipeline.reading import read
from pipeline.records import answers, query
from pipeline.records.evaluation import parse_evaluation
from pipeline.records.manifest import read_manifest
from pipeline.records.regions import parse_boxes
from pipeline.runtime.weights_folder import read_record
from tests.fuzz import native_readers, tool_readers
from tests.fuzz.reader import Reader, json_of, rows_of

CHECKOUT = Path(__file__).parents[2]


def _template(name: str) -> Callable[[], list[bytes]]:
    from ruamel.yaml import YAML

    raw = (CHECKOUT / name).read_bytes()
    return lambda: [raw, json.dumps(YAML(typ="safe").load(raw.decode())).encode()]


def _advice(path: Path) -> Any:
    found = stopping.parse_advice(read(path))
    return stopping.describe(found), found.to_dict()


def _forgetting(path: Path) -> Any:
    found = forgetting.parse_forgetting(read(path))
    judged = forgetting.judge(found, 0.02)
    return forgetting.describe(judged), judged.to_dict()


def _pace(path: Path) -> Any:
    return annotation_time.fit(annotation_time.timed(answers.read_answers(path)))


def _watched(path: Path) -> Any:
    root = path.parents[1]
    folder = root.resolve()
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    log = root / layout.WATCH / f"{name}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    path.replace(log)
    try:
        return WatchLog.of(root, folder)
    finally:
        log.unlink()


def _daemons(path: Path) -> Any:
    return [(daemon.url, daemon.alive) for daemon in read_daemons(path.parents[1]).values()]


def _listing(path: Path) -> Any:
    path.replace(path.parents[3] / "files/md5/ab/cd.dir")
    return Cache(path.parents[3]).files(Out(path="data", md5="abcd.dir", remade=False))


_MANIFEST = (
    "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out,regions"
)
_QUERY = "rank,sample_id,score,source,reason,regions,chance,minutes"
_ANSWERS = "item_id,source,chance,mask_sha256,counts,lead_s,boundary,regions"
_RANGE = {"mean": 0.1, "sd": 0.1, "low": 0.0, "high": 0.2}
_ADVICE = {
    "num_rounds": 3,
    "forecast": {"loss": _RANGE, "gain": _RANGE, "num_left": 3, "ahead": 10},
    "gain_per_hour": _RANGE,
    "agreements": [0.9],
    "reasons": ["why"],
    "closes": False,
    "unit": "image",
}
_ROW = {
    "domain": "day",
    "tag": "day/r0",
    "miou": {"day": 0.5},
    "num_images": {"day": 3},
    "iou": {"day": {"a": 0.5}},
}
_NEXT = {
    "domain": "dusk",
    "tag": "dusk/r0",
    "miou": {"day": 0.4, "dusk": 0.5},
    "num_images": {"day": 3, "dusk": 3},
    "iou": {},
}
_JUDGED = {"day": {"val": {"miou": 0.5, "num_images": 3, "iou": {"a": None}}}}
_EVALUATION = {
    "labelled": 3,
    "annotated_by_domain": {"day": 2},
    "baseline": _JUDGED,
    "teacher": _JUDGED,
    "transductive": False,
    "calibration": None,
}
_RECORD = {
    "item_id": "day/a/r0",
    "project_id": 1,
    "task_id": 2,
    "tool_annotation_id": 3,
    "annotator": "a@b.c",
    "lead_time_s": 3.5,
    "created_at": "2026-01-01T00:00:00+00:00",
    "updated_at": "2026-01-01T00:00:00+00:00",
    "verdict": "accepted",
    "why": "",
    "corrected_pixels": 3,
    "mask_sha256": "0",
    "raw_sha256": "0",
    "result": [{"id": "x"}],
}
_SECRETS = {
    "label_studio_email": "a@b.c",
    "label_studio_password": "p",
    "label_studio_token": "t",
    "webhook_secret": "w",
    "prefect_password": "q",
}
_DAEMON = {"name": "server", "pid": 4194000, "started_at": 1.5, "port": 4200, "workspace": "/w"}
_LOCK = {
    "schema": "2.0",
    "stages": {
        "embed@day": {
            "cmd": "x",
            "outs": [{"path": "a", "hash": "md5", "md5": "0", "size": 3}],
            "params": {"params.yaml": {"embed": {}}},
        }
    },
}
_HOLDER = {"pid": 4194000, "cmd": "dvc repro"}
_WATCH = (
    '{"is": "reference", "fingerprint": "f", "false_alarm_every": 100.0, "window": 3, "at": "t"}',
    '{"is": "image", "name": "a.png", "size": 3, "mtime_ns": 1764352321000000000, '
    '"sha256": "0", "at": "t", "p": [0.5, 0.001], "domain": "day"}',
    '{"is": "left_out", "name": "b.png", "size": 3, "mtime_ns": 3, "sha256": "0", "why": "w"}',
    '{"is": "raised", "shift": "x/1"}',
    '{"is": "opening", "shift": "x/1", "domain": "new"}',
)
_WEIGHTS = {
    "encoder": "tu-a",
    "sha256": "0123456789abcdef" * 4,
    "size_bytes": 3,
    "source": "file",
    "origin": "/a/file.pth",
    "origin_sha256": "1" * 64,
    "added": "2026-01-01T00:00:00+00:00",
}
_TOML = '[api]\nurl = "http://127.0.0.1:4200/api"\nauth_string = "a:b"\n'

READERS: dict[str, Reader] = (
    {
        reader.name: reader
        for reader in (
            Reader(
                name="params", file="params.yaml", valid=_template("params.yaml"), read=load_params
            ),
            Reader(
                name="params, edited",
                named="params.yaml",
                file="params.yaml",
                valid=_template("params.yaml"),
                read=lambda path: check_changes(path, {"loop": {"budget": 3}}),
            ),
            Reader(
                name="manifest",
                valid=rows_of(
                    _MANIFEST,
                    'day/a,day,pool,data/day/images/a.png,0,,,,0,,"0,0,4,4"',
                    "day/b,day,val,b,1,m,2,annotated,3,blurred,",
                ),
                read=read_manifest,
            ),
            Reader(
                name="query",
                valid=rows_of(
                    _QUERY,
                    '1,day/a,0.5,audit,why,"0,0,4,4",0.1,2.50',
                    "2,day/b,0.4,strategy,why,,,",
                ),
                read=query.read_query,
            ),
            Reader(
                name="answers",
                valid=rows_of(
                    _ANSWERS,
                    *(f"day/{n}/r0,audit,0.1,m,0:1:3 1:1:2,{n}.5,0.3,{n}" for n in range(9)),
                ),
                read=_pace,
            ),
            Reader(
                name="classes",
                valid=lambda: [b"index,name\n0,a\n1,b\n255,ignore\n", b"a\nb\n"],
                read=read_classes,
            ),
            Reader(
                name="splits", valid=rows_of("id,split", "a,labelled", "b,pool"), read=read_splits
            ),
            Reader(
                name="shares of predicted images",
                valid=rows_of(
                    "image,time_s,image_sha256,mask,height,width,share_a",
                    "/x/a.png,,0,a,3,4,1.000000",
                    "/x/b.mp4,2.000,0,b_2,3,4,0.500000",
                ),
                read=lambda path: ShareTable(path, ("a",)).rows,
            ),
            Reader(
                name="splits of a labelled set",
                valid=rows_of("id,split,domain", "a,train,day", "b,test,dusk"),
                read=split_rows,
            ),
            Reader(
                name="regions",
                valid=lambda: [b"0,0,4,4;5,5,2,2"],
                read=lambda path: parse_boxes(read(path).text(), str(path)),
            ),
            Reader(
                name="evaluation",
                valid=json_of(_EVALUATION),
                read=lambda path: parse_evaluation(read(path)),
            ),
            Reader(name="stopping", valid=json_of(_ADVICE), read=_advice),
            Reader(
                name="forgetting",
                valid=json_of({"rows": [_ROW, _NEXT], "intervals": {"day": [0.0, 0.1]}}),
                read=_forgetting,
            ),
            Reader(
                name="record of an answer",
                valid=json_of(_RECORD),
                read=lambda path: record_of(read(path)).facts(),
            ),
            Reader(
                name="watch log",
                file="logs/file",
                named=".jsonl:",
                valid=rows_of(*_WATCH),
                read=_watched,
            ),
            Reader(
                name="record of weights",
                file=f"tu-a/{_WEIGHTS['sha256'][:16]}.json",
                valid=json_of(_WEIGHTS, _WEIGHTS | {"source": "hub"}),
                read=read_record,
            ),
            Reader(
                name="services",
                file=RECORD.as_posix(),
                valid=json_of({"server": _DAEMON, "worker": {**_DAEMON, "port": None}}),
                read=_daemons,
            ),
            Reader(
                name="running stage",
                valid=json_of({"token": "0", "command": ["dvc"]}),
                read=group_token,
            ),
            Reader(
                name="secrets",
                file=SECRETS.as_posix(),
                valid=json_of(_SECRETS),
                read=lambda path: credentials(path.parents[1]),
            ),
            Reader(
                name="prefect.toml",
                file="prefect.toml",
                valid=lambda: [_TOML.encode()],
                read=lambda path: api(path.parent),
            ),
            Reader(
                name="rwlock of DVC",
                file=RWLOCK.as_posix(),
                valid=json_of({"read": {"a": [_HOLDER]}, "write": {"b": _HOLDER}}),
                read=lambda path: release_dead_holders(path.parents[2]),
            ),
            Reader(
                name="dvc.lock", valid=json_of(_LOCK), read=lambda path: locked_stages(read(path))
            ),
            Reader(
                name="file of DVC",
                valid=lambda: [
                    b"outs:\n- md5: 0a.dir\n  path: images\n",
                    b'{"outs": [{"md5": "0", "path": "a"}]}',
                ],
                read=lambda path: outs_of(read(path)),
            ),
            Reader(
                name="dvc.yaml",
                valid=_template("dvc.yaml"),
                read=lambda path: not_pushed(read(path)),
            ),
            Reader(
                name="folder in DVC's cache",
                file="files/md5/ab/cd.dir",
                valid=json_of([{"md5": "0", "relpath": "a.png"}]),
                read=_listing,
            ),
            Reader(
                name="configuration of DVC",
                named=None,
                valid=lambda: [
                    b"[core]\n    remote = backup\n['remote \"backup\"']\n    url = /x\n"
                ],
                read=lambda path: parse(read(path)),
            ),
        )
    }
    | native_readers.READERS
    | tool_readers.READERS
)
