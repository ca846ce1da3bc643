"""Of the comparison (README.md) the part that needs no other server: h11, a library."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compare  # noqa: E402


def test_weir_and_h11_read_alike_but_for_what_the_table_explains():
    # Without the corpus, which grows by chance: `make differential` explains that.
    unexplained, _, total = compare.compare(["h11"], with_corpus=False)
    assert total > 500
    assert not unexplained
