"""Records in the weights folder, for tests that only ask what is there."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.files import write_json
from pipeline.runtime.weights_folder import StoredWeights, record_path, stored_path


def put_weights(encoder: str, sha256: str, added: str) -> StoredWeights:
    """Weights of an encoder by hash and time, with a file beside the record that holds none."""
    stored = StoredWeights(
        encoder=encoder,
        sha256=sha256,
        size_bytes=3,
        source="file",
        origin="/a/file",
        origin_sha256=sha256,
        added=added,
    )
    write_json(record_path(encoder, sha256), asdict(stored))
    stored_path(encoder, sha256).write_bytes(b"abc")
    return stored
