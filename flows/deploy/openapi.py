"""What `ssl-loop serve` offers, as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

import pipeline

OUTPUTS = ("mask", "confidence", "shares")

_PNG = {"schema": {"type": "string", "contentMediaType": "image/png"}}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_REFUSALS = {
    400: "The body is no image that can be read, or `output` is unknown",
    401: "The token is absent or wrong",
    408: "The image was not sent in time",
    413: "The image has too many bytes or pixels",
    503: "Too many requests at once; Retry-After says when to come back",
}


def openapi(max_mib: float, max_megapixels: float, *, secret: bool) -> dict[str, Any]:
    """The document; `secret` where clients have to send a token."""
    limits = f"At most {max_mib:g} MiB and {max_megapixels:g} megapixels."
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ssl-loop serve",
            "version": pipeline.__version__,
            "description": "An image in, its mask of class indices out.",
        },
        "paths": {
            "/predict": {"post": _predict(limits)},
            "/model": {"get": _get("Classes and hash of the model, and the limits", (401,))},
            "/health": {"get": _get("That the server answers", ())},
            "/openapi.json": {"get": _get("This document", ())},
        },
        "components": {"schemas": {"Error": _ERROR}},
    }
    if secret:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in ("/health", "/openapi.json"):
            document["paths"][path]["get"]["security"] = []
    return document


def _predict(limits: str) -> dict[str, Any]:
    shares = {"type": "object", "additionalProperties": {"type": "number"}}
    return {
        "summary": "Predict one image",
        "description": "The mask has the size of the image, upright: 8-bit grey, a class index "
        "each. Confidence is 255 times the top probability; shares are of all pixels, by class.",
        "parameters": [
            {
                "name": "output",
                "in": "query",
                "schema": {"type": "string", "enum": list(OUTPUTS), "default": OUTPUTS[0]},
            }
        ],
        "requestBody": {
            "required": True,
            "description": f"The image file. {limits}",
            "content": {"application/octet-stream": {}, "image/*": {}},
        },
        "responses": {
            "200": {
                "description": "What `output` says",
                "content": {"image/png": _PNG, "application/json": {"schema": shares}},
            },
            **_refusals(tuple(_REFUSALS)),
        },
    }


def _get(what: str, refusals: tuple[int, ...]) -> dict[str, Any]:
    answer = {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"summary": what, "responses": {"200": answer, **_refusals(refusals)}}


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {
        str(status): {"description": _REFUSALS[status], "content": {"application/json": schema}}
        for status in statuses
    }
