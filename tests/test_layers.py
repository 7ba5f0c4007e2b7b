"""Imports flow one way: flows -> {pipeline, db}; inside pipeline from stages down to words.

The picture is in docs/architecture.md. Adding a folder to pipeline/ means adding it to LAYERS.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests import source_tree as source

FORBIDDEN = {
    "pipeline": {"db", "flows"},
    "db": {"pipeline", "flows"},
    "flows": set(),
}
FORBIDDEN_OUTSIDE = {
    "pipeline": {"sqlalchemy", "alembic", "psycopg", "prefect", "dvc", "label_studio_sdk",
                 "httpx", "requests", "click"},
    "db": {"torch", "torchvision", "numpy", "pandas", "prefect", "dvc", "label_studio_sdk",
           "httpx", "click"},
    "flows": {"torch", "torchvision", "dvc", "timm", "segmentation_models_pytorch"},
}  # fmt: skip

# Higher may import lower; the same number are siblings and may not, but for the words.
WORDS = 0
LAYERS = {
    "__main__": 5,
    "shift": 5,
    "backtest": 4,
    "export": 3,
    "stages": 3,
    "report": 3,
    "inference": 2,
    "training": 2,
    "adaptation": 1.5,
    "methods": 1,
    "acquisition": 1,
    "audit": 1,
    "data": 1,
    "stopping": 1,
    "models": 1,
    "answers": WORDS,
    "uncertainty": 1,
    "areas": WORDS,
    "arrays": WORDS,
    "blocks": WORDS,
    "colours": WORDS,
    "cost": WORDS,
    "class_names": WORDS,
    "config": WORDS,
    "devices": WORDS,
    "errors": WORDS,
    "evaluation": WORDS,
    "files": WORDS,
    "plain": WORDS,
    "forgetting": 1,
    "layout": WORDS,
    "loop_params": WORDS,
    "metrics": WORDS,
    "progress": WORDS,
    "query": WORDS,
    "reading": WORDS,
    "regions": WORDS,
    "memory": WORDS,
    "network_params": WORDS,
    "threads": WORDS,
    "watch": 1,
    "types": WORDS,
    "yaml_text": WORDS,
}

TORCH = {"torch", "torchvision", "lightning_fabric", "segmentation_models_pytorch", "timm"}
# A tick with nothing to do must be short: torch alone takes seconds to import.
LIGHT_IN_PIPELINE = (
    "pipeline.config",
    "pipeline.data.manifest",
    "pipeline.data.formats",
    "pipeline.data.ingest",
    "pipeline.stages",
)


def _named(paths: dict[str, Path], prefix: str = "") -> list[object]:
    return [
        pytest.param(name, path, id=name)
        for name, path in paths.items()
        if f"{name}.".startswith(prefix)
    ]


def _is_light(name: str) -> bool:
    return name.split(".")[0] in ("flows", "db") or any(
        name == light or (name.startswith(f"{light}.") and light != "pipeline.stages")
        for light in LIGHT_IN_PIPELINE
    )


@pytest.mark.parametrize(("name", "path"), _named(source.modules()))
def test_packages_keep_their_distance(name: str, path: Path) -> None:
    package = name.split(".")[0]
    imported = source.all_imports(path)
    met = {other.split(".")[0] for other in imported} & FORBIDDEN[package]
    assert not met, f"{name} imports {met}: pipeline and db meet in flows only"
    outside = source.external_packages(imported) & FORBIDDEN_OUTSIDE[package]
    assert not outside, f"{name} imports {outside}, which {package}/ must do without"


@pytest.mark.parametrize(("name", "path"), _named(source.modules(), "pipeline."))
def test_pipeline_imports_downwards(name: str, path: Path) -> None:
    if name == "pipeline":
        return
    own = name.split(".")[1]
    assert own in LAYERS, f"pipeline/{own} is new: give it a layer here"
    for target in source.all_imports(path) & set(source.modules()):
        parts = target.split(".")
        if len(parts) == 1 or parts[0] != "pipeline" or parts[1] == own:
            continue
        is_word = LAYERS[own] == LAYERS[parts[1]] == WORDS
        assert is_word or LAYERS[parts[1]] < LAYERS[own], f"{name} imports {target}: wrong way"


def test_there_are_no_cycles() -> None:
    """Imports inside functions and for type checkers count: a cycle is no better for being late."""
    graph = {
        name: {
            target
            for target in source.all_imports(path) & set(source.modules())
            # A package's __init__ gathers its own modules; that is not a cycle by itself.
            if not f"{name}.".startswith(f"{target}.")
        }
        for name, path in source.modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in source.modules() if _is_light(name)])
def test_start_is_light(name: str) -> None:
    reached = source.reachable(name)
    for module, importer in reached.items():
        heavy = source.external_packages(source.imports_at_start(source.modules()[module])) & TORCH
        chain, step = [module], importer
        while step:
            chain.append(step)
            step = reached[step]
        assert not heavy, f"importing {' <- '.join(chain)} imports {heavy}"


@pytest.mark.parametrize(("name", "path"), _named(source.modules(), "flows."))
def test_the_annotation_tools_client_is_imported_where_it_is_used(name: str, path: Path) -> None:
    assert "label_studio_sdk" not in source.external_packages(source.imports_at_start(path))


def test_the_command_line_starts_without_the_big_libraries() -> None:
    big = TORCH | {"prefect", "sqlalchemy", "alembic", "label_studio_sdk", "pandas", "numpy"}
    for module in source.reachable("flows.cli"):
        assert (
            not source.external_packages(source.imports_at_start(source.modules()[module])) & big
        ), f"{module}, which `ssl-loop --help` imports"


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "from typing import TYPE_CHECKING\n"
        "import torch.nn as nn\n"
        "from pipeline import layout\n"
        "if TYPE_CHECKING:\n    import numpy\n"
        "def late():\n    from db.session import open_ledger\n"
        "try:\n    import prefect\nexcept ImportError:\n    pass\n"
    )
    assert {"torch.nn", "pipeline.layout", "prefect", "db.session", "numpy"} <= (
        source.all_imports(bad)
    )
    assert source.external_packages(source.imports_at_start(bad)) == {"typing", "torch", "prefect"}
    assert source.own_modules({"db.repository.insert_once"}) == {"db", "db.repository",
                                                          "db.repository.insert_once"}  # fmt: skip
