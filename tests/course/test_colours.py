"""The recurring colours, seen by readers with another colour vision.

Deficiencies are simulated with the matrices of Machado, Oliveira & Fernandes (2009), "A Physiologically-based Model for
Simulation of Color Vision Deficiency", table 1, severity 1.0; they act on linear RGB. Distances are Euclidean in CIELAB
(CIE 1976, D65), where 2.3 is just noticeable: the colours must be over six times as far apart.
"""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from minidiff.course import plots

MACHADO = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# IEC 61966-2-1, rows X, Y, Z; each row's sum is the white point D65.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEAST = 15.0


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB."""
    ratio = XYZ @ rgb / XYZ.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour, vision):
    return lab(np.clip(MACHADO[vision] @ linear(colour), 0, 1))


def nearest(colours, vision):
    """The smallest distance between two different colours, and which two."""
    pairs = combinations(sorted(set(colours)), 2)
    return min((np.linalg.norm(seen(a, vision) - seen(b, vision)), a, b) for a, b in pairs)


def test_the_simulation_agrees_with_what_is_known():
    assert lab(linear("white")) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear("red")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    for vision, matrix in MACHADO.items():
        assert np.sum(matrix, axis=1) == pytest.approx(1, abs=2e-6), f"{vision}: grey must stay grey"


@pytest.mark.parametrize("vision", MACHADO)
def test_recurring_colours_can_be_told_apart(vision):
    distance, *pair = nearest(plots.COLORS.values(), vision)
    assert distance > LEAST, f"{pair} are {distance:.1f} apart"


@pytest.mark.parametrize("vision", MACHADO)
def test_the_lines_of_a_plot_can_be_told_apart(vision):
    plots.style()
    cycle = [entry["color"] for entry in matplotlib.rcParams["axes.prop_cycle"]]
    distance, *pair = nearest(cycle, vision)
    assert distance > LEAST, f"{pair} are {distance:.1f} apart"


def test_matplotlibs_own_red_and_green_would_not_pass():
    pair = ["#d62728", "#2ca02c"]
    assert nearest(pair, "normal")[0] > 100
    assert nearest(pair, "deuteranopia")[0] < LEAST
