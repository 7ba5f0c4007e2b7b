"""Label Studio's bitmask regions: a PNG as a data URL, whose alpha says what is painted."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data.formats.images import DAMAGE
from pipeline.errors import AnnotationError

PREFIX = "data:image/png;base64,"


def bitmask_alpha(url: Any, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """alpha_HW in 0..255 of a region's `imageDataURL`; nothing is painted where it is empty.

    AnnotationError on what is no PNG of the image's size with an alpha channel. Without one Label
    Studio shows the whole image as painted, whatever the PNG holds. Nothing is decompressed before
    the size is known.
    """
    if url is None or url == "":
        return np.zeros(size, dtype=np.uint8)
    if not isinstance(url, str) or not url.startswith(PREFIX):
        raise AnnotationError(f"bitmask is no text that begins with {PREFIX!r}")
    try:
        content = base64.b64decode(url[len(PREFIX) :], validate=True)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            found = (image.height, image.width)
            if found != size:
                raise AnnotationError(
                    f"bitmask of {found} (height, width), but the image is {size}"
                )
            if image.mode not in ("RGBA", "LA"):
                raise AnnotationError(f"bitmask of mode {image.mode}, expected one with alpha")
            return np.array(image.getchannel("A"))
    except AnnotationError:
        raise
    except (*DAMAGE, binascii.Error, Image.DecompressionBombError):
        raise AnnotationError("bitmask is no PNG that can be read") from None
