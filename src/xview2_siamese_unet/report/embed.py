"""Saved figures as data URIs: a page stays one file, and no figure can reach into it or clash with another's ids."""

from __future__ import annotations

import base64
import io

from PIL import Image


def svg_uri(svg: bytes) -> str:
    """Return a chart, sharp at any size; its text is outlines and needs no font."""
    return _uri(svg, "svg+xml")


def png_uri(png: bytes) -> str:
    """Return a picture as it is."""
    return _uri(png, "png")


def jpeg_uri(png: bytes) -> str:
    """Return a PNG made of photographs as JPEG, which is smaller."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(buffer, "jpeg", quality=90, subsampling=0)
    return _uri(buffer.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
