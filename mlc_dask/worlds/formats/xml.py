"""XML documents from nested elements."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, indent, tostring


def node(tag: str, *content: Element | object, **attributes: object) -> Element:
    """Return an element with child elements or one text; attributes keep their order."""
    element = Element(tag, {name: str(value) for name, value in attributes.items()})
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        else:
            element.text = str(part)
    return element


def write_xml(path: Path, root: Element) -> None:
    """Write an indented document."""
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tostring(root, encoding="utf-8", xml_declaration=True))
