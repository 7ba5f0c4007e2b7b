"""Faults against the house's rules: layers, docs, caps, and readers that believe what they read."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LAYERS = "tests/static/test_layers.py"
DOCS = "tests/static/test_docs.py"
CAPS = "tests/static/test_caps.py"
READING = "tests/pipeline/test_reading.py"
RECORDS = "tests/pipeline/records"
ERRORS = "from pipeline.errors import DataError\n"

LAYER_FAULTS = (
    Mutant(
        "pipeline imports flows",
        "pipeline/metrics/per_image.py",
        ERRORS,
        f"from flows.loop import Loop\n{ERRORS}",
        LAYERS,
    ),
    Mutant(
        "db imports pipeline, inside a function",
        "db/repository/events.py",
        "    return session.scalars(select(Event).where(Event.key == key)).one_or_none()",
        "    from pipeline.layout import LEDGER\n\n    return None",
        LAYERS,
    ),
    Mutant(
        "pipeline imports click",
        "pipeline/layout.py",
        "from pathlib import Path\n",
        "from pathlib import Path\n\nimport click\n",
        LAYERS,
    ),
    Mutant(
        "metrics import what stands below them",
        "pipeline/metrics/per_image.py",
        ERRORS,
        f"{ERRORS}from pipeline.training.batches import derive_seed\n",
        LAYERS,
    ),
    Mutant(
        "two modules of one folder import each other, one of them late",
        "pipeline/uncertainty/scores.py",
        '    return of_the_largest(probs_KHW)["margin"]\n',
        "    from pipeline.uncertainty.calibration import Bin\n\n    return Bin(probs_KHW, 0, 0)\n",
        LAYERS,
    ),
    Mutant(
        "reading params imports torch",
        "pipeline/config/params.py",
        "from pydantic import Field, field_validator, model_validator\n",
        "import torch\nfrom pydantic import Field, field_validator, model_validator\n",
        LAYERS,
    ),
    Mutant(
        "Label Studio's client is imported at the start",
        "flows/annotators/label_studio_tasks.py",
        "from PIL import Image\n",
        "import label_studio_sdk\nfrom PIL import Image\n",
        LAYERS,
    ),
    Mutant(
        "`ssl-loop --help` imports pandas",
        "flows/cli/options.py",
        "import click\n",
        "import click\nimport pandas\n",
        LAYERS,
    ),
)

DOC_FAULTS = (
    Mutant(
        "a knob is in no page",
        "pipeline/config/params.py",
        "    exclude_boundaries: bool = False\n",
        "    leave_out_borders: bool = False\n",
        DOCS,
    ),
    Mutant(
        "a knob says nothing of its meaning",
        "pipeline/config/params.py",
        '    """Samples, or regions, per query here; null = acquire.query_size."""\n',
        "",
        DOCS,
    ),
    Mutant(
        "a command is in no page",
        "flows/cli/commit.py",
        '@commit.command("accept")',
        '@commit.command("take")',
        DOCS,
    ),
    Mutant(
        "a method has no section",
        "docs/methods/consistency.md",
        "## `mean_teacher` (",
        "## Mean Teacher (",
        DOCS,
    ),
    Mutant(
        "a page names a file that is not there",
        "docs/architecture.md",
        "| `flows/steps/` | the steps of a tick",
        "| `flows/tick_steps/` | the steps of a tick",
        DOCS,
    ),
    Mutant(
        "a link leads nowhere",
        "docs/architecture.md",
        "[stopping.md](stopping.md)",
        "[stopping.md](stop.md)",
        DOCS,
    ),
    Mutant(
        "a file of a workspace is not in the architecture",
        "docs/architecture.md",
        "| `metrics/stop_set.npz`, `metrics/stopping.json` |",
        "| `metrics/stopping.json` |",
        DOCS,
    ),
)

CAP_FAULTS = (
    Mutant(
        "a function of 60 lines",
        "pipeline/metrics/iou.py",
        "    hits = confusion_KK.diagonal()\n",
        "    hits = confusion_KK.diagonal()\n" * 55,
        CAPS,
    ),
    Mutant(
        "a module of 450 lines",
        "pipeline/types.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n" + "\n" * 440,
        CAPS,
    ),
    Mutant(
        "six positional arguments",
        "pipeline/metrics/iou.py",
        "(predicted_HW: Tensor, truth_HW: Tensor, num_classes: int)",
        "(predicted_HW: Tensor, truth_HW: Tensor, num_classes: int, a=0, b=0, c=0)",
        CAPS,
    ),
    Mutant(
        "a module without a docstring",
        "flows/rounds/close.py",
        '"""`ssl-loop round close`: people decide that a round has waited long enough."""\n',
        "",
        CAPS,
    ),
)

READER_FAULTS = (
    Mutant(
        "a file of any size is read",
        "pipeline/reading.py",
        "            if size > LIMIT_BYTES:",
        "            if size < 0:",
        READING,
    ),
    Mutant(
        "a number out of its range is believed",
        "pipeline/reading.py",
        "abs(value) <= LARGEST and least <= value <= most and",
        "abs(value) <= LARGEST and",
        f"{RECORDS}/test_query.py",
    ),
    Mutant(
        "a NUL is text",
        "pipeline/reading.py",
        'if (at := text.find("\\0")) >= 0:',
        'if (at := text.find("\\0\\0")) >= 0:',
        READING,
    ),
    Mutant(
        "JSON may be nested without end",
        "pipeline/reading.py",
        "            if depth > DEEPEST:",
        "            if depth > 10**9:",
        READING,
    ),
    Mutant(
        "JSON's NaN is a number",
        "pipeline/reading.py",
        "parse_constant=None if lenient else _no_number",
        "parse_constant=None",
        READING,
    ),
    Mutant(
        "a sample may come twice",
        "pipeline/records/manifest.py",
        "        if sample.sample_id in found:",
        "        if False:",
        f"{RECORDS}/test_manifest.py",
    ),
    Mutant(
        "an image that is not the manifest's is read",
        "pipeline/records/manifest.py",
        "            elif sha256_file(path) != expected:",
        "            elif False:",
        f"{RECORDS}/test_manifest.py",
    ),
    Mutant(
        "a query may lack ranks",
        "pipeline/records/query.py",
        "if row.rank != place:",
        "if row.rank < 1:",
        f"{RECORDS}/test_query.py",
    ),
    Mutant(
        "a region may be empty",
        "pipeline/records/regions.py",
        "        if not box.num_pixels:",
        "        if found is None:",
        f"{RECORDS}/test_regions.py",
    ),
    Mutant(
        "an array may have any shape",
        "pipeline/array_files.py",
        " or found.ndim != num_axes:",
        ":",
        "tests/pipeline/test_array_files.py",
    ),
    Mutant(
        "a brush mask may run over its end",
        "flows/annotators/brush_rle.py",
        "    if totals[last] != count:",
        "    if False:",
        "tests/flows/annotators/test_brush_rle.py",
    ),
    Mutant(
        "a brush mask of another image is taken",
        "flows/annotators/brush_rle.py",
        "    if found != count:",
        "    if False:",
        "tests/flows/annotators/test_brush_rle.py",
    ),
    Mutant(
        "a large image is decoded before it is refused",
        "pipeline/data/formats/images.py",
        "with _opened(path, IMAGE_FORMATS, max_megapixels) as image:",
        "with _opened(path, IMAGE_FORMATS) as image:",
        "tests/pipeline/data/test_bounds.py",
    ),
)

TEST_FAULTS = (
    Mutant(
        "a test starts a program and does not say so",
        "tests/support/programs.py",
        "    if _may_start(item):\n",
        "    if item:\n",
        "tests/support/test_programs.py",
    ),
    Mutant(
        "a test starts a program, and catches that it is refused",
        "tests/support/programs.py",
        "    if tried:\n",
        "    if not item:\n",
        "tests/support/test_programs.py",
    ),
)

RULES: dict[str, tuple[Mutant, ...]] = {
    "Layers": LAYER_FAULTS,
    "Docs": DOC_FAULTS,
    "Caps": CAP_FAULTS,
    "Readers": READER_FAULTS,
    "Tests": TEST_FAULTS,
}
