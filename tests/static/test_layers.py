"""Imports flow one way: benchmarks -> flows -> {pipeline, db}; in a package from ORDER's end up.

The picture is in docs/architecture.md.
"""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import source_tree as source

FORBIDDEN = {
    "pipeline": {"db", "flows", "ssl_loop", "benchmarks", "tests"},
    "db": {"pipeline", "flows", "ssl_loop", "benchmarks", "tests"},
    "flows": {"ssl_loop", "benchmarks", "tests"},
    "ssl_loop": {"benchmarks", "tests"},
    "benchmarks": set(),
}
FORBIDDEN_OUTSIDE = {
    "pipeline": {"sqlalchemy", "alembic", "psycopg", "prefect", "dvc", "label_studio_sdk",
                 "httpx", "requests", "click"},
    "db": {"torch", "torchvision", "numpy", "pandas", "prefect", "dvc", "label_studio_sdk",
           "httpx", "click"},
    "flows": {"torch", "torchvision", "dvc", "timm", "segmentation_models_pytorch"},
    "ssl_loop": {"torch", "torchvision", "dvc", "prefect", "click"},
    "benchmarks": set(),
}  # fmt: skip
# Of benchmarks, the folders that play with the tests' toys: crowds, faults, tiny networks.
PLAYS_TESTS = ("benchmarks.robustness.", "benchmarks.fidelity.")

# What stands later may import what stands before it: a file or a folder of the package each.
# docs/architecture.md draws the same lists. A new folder gets its place here.
ORDER = {
    "pipeline": (
        "errors", "types", "ids", "plain_text", "class_names", "class_colours", "files",
        "yaml_text", "reading", "array_files", "row_bands", "layout", "records", "config",
        "runtime", "data", "metrics", "consensus", "campaign", "report", "acquisition", "models",
        "uncertainty", "inference", "methods", "training", "planning", "stages", "clicks", "probe",
        "label_errors", "backtest", "drift", "shift", "deploy", "__main__",
    ),
    "db": ("ledger_errors", "tables", "session", "copying", "migrations", "repository"),
    "flows": (
        "processes", "annotators", "workspace", "ledger", "services", "loop", "answers", "rounds",
        "versions", "backup", "deploy", "domains", "situation", "watch", "views", "steps", "verify",
        "guards", "tick", "demo", "cli", "run_page", "ssl_loop", "ssl_watch",
    ),
    "ssl_loop": (),
    "benchmarks": (
        "support", "camvid", "methods", "backtest", "corrections", "adaptation", "shift", "watch",
        "timings", "robustness", "defaults", "gpu", "fidelity", "clicks",
        "label_errors",
    ),
}  # fmt: skip

TORCH = {"torch", "torchvision", "lightning_fabric", "segmentation_models_pytorch", "timm"}
# A tick with nothing to do must be short: torch alone takes seconds to import.
LIGHT_IN_PIPELINE = (
    "pipeline.config.params",
    "pipeline.records.manifest",
    "pipeline.data.formats",
    "pipeline.data.ingest",
    "pipeline.stages",
    "pipeline.stages.acquire",  # between predict and the query people wait for it
)


def _is_light(name: str) -> bool:
    return name.split(".")[0] in ("flows", "db") or any(
        name == light or (name.startswith(f"{light}.") and light != "pipeline.stages")
        for light in LIGHT_IN_PIPELINE
    )


def test_packages_keep_their_distance() -> None:
    wrong = []
    for name, path in source.modules().items():
        package, imported = name.split(".")[0], source.all_imports(path)
        if met := {other.split(".")[0] for other in imported} & FORBIDDEN[package]:
            wrong.append(f"{name} imports {met}: pipeline and db meet in flows only")
        if outside := source.external_packages(imported) & FORBIDDEN_OUTSIDE[package]:
            wrong.append(f"{name} imports {outside}, which {package}/ must do without")
        if "tests" in source.external_packages(imported) and not name.startswith(PLAYS_TESTS):
            wrong.append(f"{name} imports tests: {', '.join(PLAYS_TESTS)} alone may")
    assert not wrong, "\n".join(wrong)


def test_imports_go_downwards() -> None:
    """Within a package, imports inside functions and for type checkers too."""
    wrong = []
    for name, path in source.modules().items():
        package, _, rest = name.partition(".")
        own = rest.partition(".")[0]
        if not own:
            continue  # the package itself
        if own not in ORDER[package]:
            wrong.append(f"{package}/{own} is new: give it a place in ORDER")
            continue
        for target in source.all_imports(path) & set(source.modules()):
            other, _, below = target.partition(".")
            unit = below.partition(".")[0]
            if other != package or unit in ("", own) or unit not in ORDER[package]:
                continue
            if ORDER[package].index(unit) > ORDER[package].index(own):
                wrong.append(f"{name} imports {target}: the wrong way")
    assert not wrong, "\n".join(wrong)


def test_a_folder_holds_at_most_twelve_modules() -> None:
    """More are several subjects; methods and strategies are tables, a file for each row."""
    tables = {"pipeline/methods", "pipeline/acquisition", "db/migrations/versions"}
    found = Counter(
        path.parent.relative_to(source.ROOT).as_posix()
        for path in source.modules().values()
        if path.name not in ("__init__.py", "__main__.py")
    )
    assert not {folder: n for folder, n in found.items() if n > 12 and folder not in tables}


def test_no_file_name_stands_for_two_things() -> None:
    names = Counter(
        path.name
        for path in source.modules().values()
        if path.name not in ("__init__.py", "__main__.py")
    )
    assert not [name for name, count in names.items() if count > 1]


def test_no_class_name_stands_for_two_things() -> None:
    """But for `Options`, of which every method has its own."""
    names = Counter(
        node.name
        for path in source.modules().values()
        for node in source.tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in names.items() if count > 1 and name != "Options"]


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


def test_start_is_light() -> None:
    wrong = []
    for name in filter(_is_light, source.modules()):
        reached = source.reachable(name)
        for module, importer in reached.items():
            starts = source.imports_at_start(source.modules()[module])
            if heavy := source.external_packages(starts) & TORCH:
                chain, step = [module], importer
                while step:
                    chain.append(step)
                    step = reached[step]
                wrong.append(f"importing {' <- '.join(chain)} imports {heavy}")
    assert not wrong, "\n".join(wrong)


def test_the_annotation_tools_client_is_imported_where_it_is_used() -> None:
    """label_studio_sdk takes seconds to import."""
    for name, path in source.modules().items():
        assert "label_studio_sdk" not in source.external_packages(source.imports_at_start(path)), (
            name
        )


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
    assert source.own_modules({"db.repository.insert_once"}) == {
        "db",
        "db.repository",
        "db.repository.insert_once",
    }
