"""Everything that can go wrong in words a user can act on.

SslLoopError
|-- ConfigError       params.yaml: the key, its value, what is allowed
|-- DataError         images, masks, manifests: every offending file and what to do
|-- ModelError        unknown model, weights that do not fit
|-- WorkspaceError    git, DVC or the folder is not in a state the loop may touch
|-- ServiceError      a server is down, refuses, or answers nonsense
`-- AnnotationError   an annotation that cannot be read: quarantined, never dropped
"""

from __future__ import annotations


class SslLoopError(Exception):
    """Root of the tree: the message names what was wrong, what was expected and what to do."""


class ConfigError(SslLoopError, ValueError):
    """A value in params.yaml is missing, unknown, of the wrong type or out of range."""


class DataError(SslLoopError, ValueError):
    """Images, masks or a manifest are unusable; the message lists all offenders."""


class ModelError(SslLoopError, ValueError):
    """A model cannot be built, or weights do not fit it."""


class WorkspaceError(SslLoopError):
    """The workspace's git, DVC or files forbid going on; the message names the remedy."""


class ServiceError(SslLoopError):
    """A service is unreachable or answered something unexpected."""


class AnnotationError(SslLoopError, ValueError):
    """An annotation cannot be decoded; it is quarantined with this message as the reason."""
