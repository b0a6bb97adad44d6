"""Pieces of HTML: escaped, without scripts or external references, in the colours of the notebook's theme."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mlc_dask.show.palette import rgb

_STYLE = """
.mlc{--ink:var(--jp-ui-font-color1,var(--pst-color-text-base,currentColor));
--dim:var(--jp-ui-font-color2,var(--pst-color-text-muted,#777));
--rule:var(--jp-border-color2,var(--pst-color-border,#8885));--mark:var(--jp-brand-color1,#1976d2);
color:var(--ink);font:13px/1.45 system-ui,sans-serif;border:1px solid var(--rule);border-radius:6px;
padding:10px 14px;max-width:980px;overflow-x:auto}
.mlc h4{margin:0 0 2px;font-size:14px;font-weight:600}
.mlc .facts{color:var(--dim);margin:0 0 8px}
.mlc .row{display:flex;flex-wrap:wrap;gap:12px;margin:8px 0}
.mlc figure{margin:0;display:block}
.mlc figure img{display:block;width:200px;height:auto;image-rendering:pixelated;border-radius:3px}
.mlc figcaption{font-size:12px;color:var(--dim);margin-bottom:3px}
.mlc .bar{display:flex;width:200px;height:7px;margin-top:4px;border-radius:2px;overflow:hidden}
.mlc table{border-collapse:collapse;margin:6px 0;font-size:12px;color:var(--ink);border:none}
.mlc th,.mlc td{padding:1px 12px 1px 0;text-align:right;border:none;background:none;color:inherit;
font-variant-numeric:tabular-nums;white-space:nowrap}
.mlc th{font-weight:600;border-bottom:1px solid var(--rule)}
.mlc th:first-child,.mlc td:first-child,.mlc .words td{text-align:left}
.mlc tr{background:none}
.mlc .swatch{display:inline-block;width:10px;height:10px;border:1px solid var(--rule);
border-radius:2px;margin-right:6px;vertical-align:-1px}
.mlc svg{display:block;max-width:100%;margin:6px 0}.mlc svg text{fill:var(--dim);font:10px system-ui,sans-serif}
.mlc svg text.year{fill:var(--ink);font-weight:600;font-size:11px}
.mlc .note{color:var(--dim);font-style:italic;margin:6px 0}
.mlc .todo td{color:var(--dim)}
.mlc a{color:var(--jp-content-link-color,#1976d2)}
"""


def text(value: Any) -> str:
    """Escape anything for text and attributes."""
    return escape(str(value), quote=True)


def card(title: str, facts: Iterable[str], *parts: str) -> str:
    """Frame of a repr; `parts` are HTML, `title` and `facts` are text."""
    line = " · ".join(text(fact) for fact in facts)
    head = f"<h4>{text(title)}</h4><div class='facts'>{line}</div>"
    return f"<div class='mlc'><style>{_STYLE}</style>{head}{''.join(parts)}</div>"


def note(words: str) -> str:
    """One line of explanation."""
    return f"<div class='note'>{text(words)}</div>"


def table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], str]], css: str = "") -> str:
    """Table of rows of HTML, each with its class; `head` is text."""
    top = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "".join(f"<tr class='{kind}'>{''.join(f'<td>{c}</td>' for c in cells)}</tr>" for cells, kind in rows)
    return f"<table class='{css}'><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def figure(caption: str, source: str, below: str = "") -> str:
    """Picture with its caption; `source` is a data URL, `below` HTML."""
    return f"<figure><figcaption>{text(caption)}</figcaption><img alt='{text(caption)}' src='{source}'>{below}</figure>"


def swatch(colour: str, name: str) -> str:
    """Square in the colour of a class, followed by the name of the class."""
    return f"<span class='swatch' style='background:{text(colour)}'></span>{text(name)}"


def shares(parts: Mapping[str, tuple[str, float]]) -> str:
    """One bar, cut by the shares of classes: name → (colour, share)."""
    cells = "".join(
        f"<span title='{text(name)} {share:.1%}' style='background:{text(colour)};width:{100 * share:.2f}%'></span>"
        for name, (colour, share) in parts.items()
    )
    return f"<div class='bar'>{cells}</div>"


def coded(codes: npt.NDArray[np.uint8], colours: Mapping[int, str]) -> str:
    """Picture (h, w) of codes in exact colours as a data URL; codes without a colour are transparent."""
    palette = np.zeros((256, 4), np.uint8)
    for code, colour in colours.items():
        palette[code] = (*rgb(colour), 255)
    image = Image.fromarray(codes)
    image.putpalette(palette.ravel().tolist(), "RGBA")
    return _url(image, "PNG")


def photo(png: bytes) -> str:
    """Picture as a data URL, compressed to a tenth of the size of a PNG."""
    return _url(Image.open(io.BytesIO(png)), "WEBP")


def _url(image: Image.Image, form: str) -> str:
    stream = io.BytesIO()
    image.save(stream, form, optimize=True, quality=80)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
