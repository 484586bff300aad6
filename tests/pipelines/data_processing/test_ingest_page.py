from __future__ import annotations

import pandas as pd

from xview2_siamese_unet.pipelines.data_processing.ingest_page import render_ingest_page


def test_what_comes_from_files_is_escaped_and_empty_tables_are_left_out() -> None:
    told = pd.DataFrame({"found": ["<script>alert(1)</script>"], "count": [3]})
    page = render_ingest_page("<a>", "x & y", {"Problems <b>": told, "Nothing": told.iloc[:0]})
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert "<h1>&lt;a&gt;</h1>" in page
    assert "x &amp; y" in page
    assert "Problems &lt;b&gt;" in page
    assert "Nothing" not in page
    assert '<td class="text">&lt;script' in page
    assert "<td>3</td>" in page
