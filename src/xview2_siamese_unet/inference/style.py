"""Layers as QGIS shows them at once: colours of the class table, outlines only where nothing is known."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from xview2_siamese_unet.damage import SCORED

_SYMBOL = (
    '<symbol type="fill" name="{name}" alpha="1"><layer class="SimpleFill" enabled="1"><Option type="Map">'
    '<Option type="QString" name="color" value="{fill}"/><Option type="QString" name="style" value="{style}"/>'
    '<Option type="QString" name="outline_color" value="{line}"/>'
    '<Option type="QString" name="outline_width" value="0.3"/></Option></layer></symbol>'
)


def buildings_style() -> str:
    """Return the style of the layer of buildings: a colour a class, a grey hatch where nobody could judge."""
    labels = {str(int(code)): code.word for code in SCORED} | {"": "not assessed"}
    symbols = [
        _SYMBOL.format(name=number, fill=_rgba(code.rgb, 190), style="solid", line=_rgba(code.rgb, 255))
        for number, code in enumerate(SCORED)
    ]
    symbols.append(_SYMBOL.format(name=len(SCORED), fill="127,127,127,255", style="b_diagonal", line="127,127,127,255"))
    categories = "".join(
        f'<category render="true" symbol="{number}" value={quoteattr(value)} label={quoteattr(label)} type="string"/>'
        for number, (value, label) in enumerate(labels.items())
    )
    return _qml(
        f'<renderer-v2 type="categorizedSymbol" attr="damage" forceraster="0"><categories>{categories}</categories>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>"
    )


def outline_style() -> str:
    """Return the style of a layer that only frames: a line, no fill."""
    symbol = _SYMBOL.format(name=0, fill="0,0,0,0", style="no", line="60,60,60,255")
    return _qml(f'<renderer-v2 type="singleSymbol" forceraster="0"><symbols>{symbol}</symbols></renderer-v2>')


def _qml(renderer: str) -> str:
    return f'<!DOCTYPE qgis><qgis version="3.34" styleCategories="Symbology">{renderer}</qgis>'


def _rgba(rgb: tuple[int, int, int], alpha: int) -> str:
    return ",".join(map(str, (*rgb, alpha)))
