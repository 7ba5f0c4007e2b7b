"""What differs between the synthetic domains: light, camera and the statistics of the layout."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]  # uniform between
Colour = tuple[float, float, float]  # linear RGB, 1 = white in full light


@dataclass(frozen=True, kw_only=True)
class Light:
    """How a scene is lit and photographed."""

    ambient: Colour
    sun: Colour
    sunny_probability: float
    zenith: tuple[Colour, ...]  # one is drawn, with its horizon
    horizon: tuple[Colour, ...]
    haze_m: Range  # distance at which 63 % of an object's contrast is gone
    lamps: bool  # street lamps, headlights and windows shine
    exposure: Range
    white_balance: float  # half-width of each channel's gain
    noise: Range  # standard deviation at mid grey, full scale 1
    blur_px: Range


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What stands in a street, in metres and counts."""

    horizon: Range  # share of the height, from the top
    road_half_m: Range
    pavement_m: Range
    building_height_m: Range
    building_length_m: Range
    lit_windows: Range  # share of a house's windows
    gap_probability: float
    hedge_probability: float
    cross_street_probability: float
    cars: tuple[int, int]
    parked_probability: float
    pedestrians: tuple[int, int]
    trees: tuple[int, int]
    pole_spacing_m: Range


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """One imaging condition: a domain."""

    light: Light
    layout: Layout


DAY = Conditions(
    light=Light(
        ambient=(0.40, 0.45, 0.53),
        sun=(0.85, 0.77, 0.62),
        sunny_probability=0.6,
        zenith=((0.16, 0.36, 0.74), (0.28, 0.48, 0.80), (0.62, 0.67, 0.73)),
        horizon=((0.62, 0.76, 0.90), (0.74, 0.82, 0.90), (0.76, 0.79, 0.82)),
        haze_m=(180.0, 600.0),
        lamps=False,
        exposure=(0.85, 1.15),
        white_balance=0.05,
        noise=(0.006, 0.015),
        blur_px=(0.0, 0.4),
    ),
    layout=Layout(
        horizon=(0.40, 0.50),
        road_half_m=(3.2, 5.0),
        pavement_m=(1.8, 3.8),
        building_height_m=(5.0, 15.0),
        building_length_m=(7.0, 16.0),
        lit_windows=(0.0, 0.0),
        gap_probability=0.22,
        hedge_probability=0.12,
        cross_street_probability=0.35,
        cars=(2, 7),
        parked_probability=0.45,
        pedestrians=(2, 7),
        trees=(2, 7),
        pole_spacing_m=(11.0, 20.0),
    ),
)

DUSK = Conditions(
    light=Light(
        ambient=(0.15, 0.15, 0.22),
        sun=(0.0, 0.0, 0.0),
        sunny_probability=0.0,
        zenith=((0.10, 0.13, 0.30), (0.20, 0.16, 0.34), (0.14, 0.20, 0.34)),
        horizon=((0.72, 0.40, 0.26), (0.60, 0.42, 0.42), (0.46, 0.40, 0.46)),
        haze_m=(60.0, 180.0),
        lamps=True,
        exposure=(0.60, 1.00),
        white_balance=0.10,
        noise=(0.015, 0.035),
        blur_px=(0.2, 0.6),
    ),
    layout=Layout(
        horizon=(0.36, 0.47),
        road_half_m=(2.6, 4.0),
        pavement_m=(1.4, 2.6),
        building_height_m=(8.0, 24.0),
        building_length_m=(8.0, 22.0),
        lit_windows=(0.05, 0.4),
        gap_probability=0.12,
        hedge_probability=0.05,
        cross_street_probability=0.25,
        cars=(3, 8),
        parked_probability=0.6,
        pedestrians=(3, 9),
        trees=(1, 5),
        pole_spacing_m=(9.0, 15.0),
    ),
)
