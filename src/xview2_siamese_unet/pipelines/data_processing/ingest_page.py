"""What a dataset folder holds, as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from xview2_siamese_unet.report.page import page_environment

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 2rem } caption { text-align: left; font-weight: 600 }
td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td.text, th.text { text-align: left; overflow-wrap: anywhere }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
{% for caption, table in tables.items() %}
<table><caption>{{ caption }}</caption>
<tr>{% for name in table.columns %}<th{% if table.text[loop.index0] %} class="text"{% endif %}>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr>{% for cell in row %}<td{% if table.text[loop.index0] %} class="text"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endfor %}
</body></html>
"""  # noqa: E501  one cell a line would put white space into the table


def render_ingest_page(title: str, summary: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the page; every text is escaped.

    Args:
        title: heading.
        summary: one paragraph.
        tables: caption → table; an empty one is left out.
    """
    shown = {caption: _table(table) for caption, table in tables.items() if len(table)}
    return page_environment().from_string(_PAGE).render(title=title, summary=summary, tables=shown)


def _table(table: pd.DataFrame) -> dict[str, list[object]]:
    return {
        "columns": list(table.columns),
        "text": [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes],
        "rows": [list(row) for row in table.itertuples(index=False, name=None)],
    }
