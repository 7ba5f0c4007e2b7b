"""Where things lie in a workspace; every path is relative to its root."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
WORKSPACE = Path("workspace.json")  # its id, which tasks in the annotation tool carry
DVC_YAML = Path("dvc.yaml")
DATA = Path("data")
MANIFEST = Path("data/manifest.csv")
CLASSES = Path("data/classes.csv")  # names under which the masks were painted
MODELS = Path("models")
BASELINE = Path("models/baseline")
TEACHER = Path("models/teacher")
PREVIOUS_TEACHER = Path("previous/teacher")  # of the last round; copied between rounds
SCORES = Path("predictions/scores.parquet")
EMBEDDINGS = Path("predictions/embeddings")  # one <domain>.npz, see the stage embed
PSEUDO_LABELS = Path("predictions/pseudo_labels")  # <domain>/<stem>.png, class indices
CONFIDENCE = Path("predictions/confidence")  # <domain>/<stem>.png, 255 * max probability
UNCERTAINTY = Path("predictions/uncertainty")  # <domain>/<stem>.png, 255 * entropy / log K
QUERY = Path("query.csv")
METRICS = Path("metrics")
EVALUATION = Path("metrics/evaluation.json")
VAL_AREAS = Path("metrics/val_areas.npz")  # of the teacher, image by image
BASELINE_TRAINING = Path("metrics/train_baseline.json")
TEACHER_TRAINING = Path("metrics/train_teacher.json")
STOP_SET = Path("metrics/stop_set.npz")
PLAN = Path("metrics/plan.json")  # what every auto of params.yaml stands for, and why
STOPPING = Path("metrics/stopping.json")
FORGETTING = Path("metrics/forgetting.json")
ANSWERS = Path("metrics/answers.csv")
SHIFT = Path("metrics/shift")  # one <domain>.json: how unlike it was when it arrived
REPORT = Path("report/index.html")
PRIVATE = Path(".ssl-loop")  # git-ignored: ledger.db, inbox, incoming, checkpoints, lock, logs
CHECKPOINTS = Path(".ssl-loop/checkpoints")
FEATURES = Path(".ssl-loop/features")  # of tiles, by a probe's frozen encoder; made again at need
CLICKED = Path(".ssl-loop/clicked.jsonl")  # who asked for a mask of what, until it is collected
CLICKS = Path(".ssl-loop/clicks")  # what clicks need of images, made again at need
DECODED = Path(
    ".ssl-loop/decoded"
)  # images and masks, decoded at the size seen; made again at need
INCOMING = Path(".ssl-loop/incoming")
MORE = Path(".ssl-loop/more")  # <domain>/<number>: images that are to join a domain
INBOX = Path(".ssl-loop/inbox")
REVIEW = Path(".ssl-loop/review")  # features that masks are judged by; made again at need
WATCH = Path(".ssl-loop/watch")  # <hash of the folder>.jsonl: what arrived there, and was said
LEDGER = Path(".ssl-loop/ledger.db")
PIXELS = Path(".ssl-loop/pixels.json")  # hash of an image's file -> hash of its pixels
LOCK = Path(".ssl-loop/lock")


def images_dir(domain: str) -> Path:
    """Folder of a domain's images, none of which changes after it came."""
    return DATA / domain / "images"


def masks_dir(domain: str) -> Path:
    """Folder of a domain's class-index masks; grows with every merge."""
    return DATA / domain / "masks"


def annotations_dir(domain: str) -> Path:
    """Folder of what people answered: one JSON per annotation."""
    return DATA / domain / "annotations"


def shift_report(domain: str) -> Path:
    """The shift report made when a domain arrived."""
    return SHIFT / f"{domain}.json"


def sample_png(folder: Path, sample_id: str) -> Path:
    """`folder/<domain>/<stem>.png` of a sample `<domain>/<stem>`."""
    return folder / f"{sample_id}.png"
