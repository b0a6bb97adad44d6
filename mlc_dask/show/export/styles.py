"""Sidecar files of a GeoTIFF: the names of its values for GDAL (``.tif.aux.xml``) and a style for QGIS (``.qml``)."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from mlc_dask.show.export.layers import Layer
from mlc_dask.show.palette import as_hex

# Column, its type (0 integer, 2 text) and its meaning, in GDAL's numbers.
_COLUMNS = (("value", 0, 5), ("class", 2, 2), ("red", 0, 6), ("green", 0, 7), ("blue", 0, 8), ("pixels", 0, 1))
_STOPS = 5
"""Number of colours in the legend of a quantity."""


def names_xml(layer: Layer, counts: Sequence[int]) -> bytes:
    """Category names and attribute table of a layer's values, as GDAL keeps them.

    Parameters
    ----------
    counts
        Pixels of every value 0..255.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    if layer.unit:
        ET.SubElement(band, "UnitType").text = layer.unit
    if layer.classes:
        names = {0: "No data"} | {c.code: c.name for c in layer.classes}
        categories = ET.SubElement(band, "CategoryNames")
        for value in range(max(names) + 1):
            ET.SubElement(categories, "Category").text = names.get(value, "")
        _attribute_table(band, layer, counts)
    return _bytes(root)


def _attribute_table(band: ET.Element, layer: Layer, counts: Sequence[int]) -> None:
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = str(text)
    for index, c in enumerate(layer.classes):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (c.code, c.name, *layer.colours[c.code], counts[c.code]):
            ET.SubElement(row, "F").text = str(value)


def style_qml(layer: Layer) -> bytes:
    """Style of a layer: a palette of classes or counts, a ramp of per cent."""
    root = ET.Element("qgis", version="3.28.0", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    if layer.classes or layer.no_data is None:
        _palette(pipe, layer)
    else:
        _shades(pipe, layer)
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _bytes(root)


def _palette(pipe: ET.Element, layer: Layer) -> None:
    renderer = ET.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ET.SubElement(renderer, "colorPalette")
    names = {c.code: c.name for c in layer.classes}
    for value in sorted(layer.colours):
        colour, label = as_hex(layer.colours[value]), names.get(value, f"{value} {layer.unit}")
        ET.SubElement(palette, "paletteEntry", value=str(value), color=colour, label=label, alpha="255")


def _shades(pipe: ET.Element, layer: Layer) -> None:
    low, high = min(layer.colours), max(layer.colours)
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1", alphaBand="-1",
        classificationMin=str(low), classificationMax=str(high),
    )  # fmt: skip
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED",
        minimumValue=str(low), maximumValue=str(high),
    )  # fmt: skip
    for value in sorted({low + round(i * (high - low) / (_STOPS - 1)) for i in range(_STOPS)}):
        label, colour = f"{value} {layer.unit}", as_hex(layer.colours[value])
        ET.SubElement(shader, "item", value=str(value), color=colour, label=label, alpha="255")


def _bytes(root: ET.Element) -> bytes:
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode").encode() + b"\n"
