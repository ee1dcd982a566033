"""Let the tests of this folder import their helpers `toy` and `mutants`; figures without a window."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def no_window():
    """Draw without a window, and leave no figure and no other backend behind."""
    import matplotlib
    import matplotlib.pyplot as plt

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    plt.close("all")
    matplotlib.use(before)
