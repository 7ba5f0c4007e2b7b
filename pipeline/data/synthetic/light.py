"""From a painted canvas to the photograph: light, haze, glow, exposure, blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.data.synthetic.canvas import SKY, SUPERSAMPLE, Canvas, Floats, smooth_noise
from pipeline.data.synthetic.conditions import Light

GAMMA = 2.0  # albedos are chosen for it; near sRGB's 2.2
GLOW_LIMIT = 4.0  # brightest light whose halo grows with it
LAMP_POOL_M = 4.5  # radius of a street lamp's light on the ground


def photograph(
    canvas: Canvas,
    light: Light,
    lamps_at: list[tuple[float, float]],
    rng: np.random.Generator,
    *,
    sunny: bool,
) -> NDArray[np.uint8]:
    """HxWx3 uint8: the canvas lit, reduced by SUPERSAMPLE, exposed and made noisy."""
    scene_HWC = _lit(canvas, light, lamps_at, sunny)
    which = int(rng.integers(len(light.zenith)))
    sky_HWC = _sky(canvas, light, which, rng)
    clear = np.exp(-canvas.depth_HW / rng.uniform(*light.haze_m))[:, :, None]
    horizon = np.array(light.horizon[which], np.float32)
    scene_HWC = scene_HWC * clear + horizon * (1 - clear)
    scene_HWC = np.where((canvas.label_HW == SKY)[:, :, None], sky_HWC, scene_HWC)
    scene_HWC += canvas.glow_HWC
    small_HWC = _reduce(scene_HWC)
    if light.lamps:
        small_HWC += _halo(_reduce(canvas.glow_HWC))
    return _develop(small_HWC, light, rng)


def _lit(canvas: Canvas, light: Light, lamps_at: list[tuple[float, float]], sunny: bool) -> Floats:
    ambient, sun = np.array(light.ambient, np.float32), np.array(light.sun, np.float32)
    if sunny:
        light_HWC = ambient + canvas.shade_HW[:, :, None] * sun
    else:  # an overcast sky sheds about as much, from everywhere
        soft = 0.8 + 0.2 * canvas.shade_HW[:, :, None]
        light_HWC = (ambient + 0.45 * sun) * soft
    if light.lamps:
        light_HWC = light_HWC + _lamplight(canvas, lamps_at)
    return (canvas.albedo_HWC * light_HWC).astype(np.float32)


def _lamplight(canvas: Canvas, lamps_at: list[tuple[float, float]]) -> Floats:
    """Pools under the street lamps, and the beam of the camera's own car ahead."""
    z_HW = canvas.depth_HW
    x_HW = canvas.right_W * np.minimum(z_HW, 200)
    pool = np.zeros_like(z_HW)
    for x, z in lamps_at:
        pool += np.exp(-((x_HW - x) ** 2 + (z_HW - z) ** 2) / np.float32(LAMP_POOL_M**2))
    low = canvas.down_H > -0.05  # headlights are aimed at the road
    beam = np.exp(-z_HW / 14 - (x_HW / 4) ** 2) * low
    warm, white = np.array((0.42, 0.32, 0.18)), np.array((0.30, 0.29, 0.26))
    return (pool[:, :, None] * warm + beam[:, :, None] * white).astype(np.float32)


def _sky(canvas: Canvas, light: Light, which: int, rng: np.random.Generator) -> Floats:
    rise = np.clip(-canvas.down_H / 0.45, 0, 1)[:, :, None] ** 0.7
    zenith, horizon = np.array(light.zenith[which]), np.array(light.horizon[which])
    clear_HWC = horizon + (zenith - horizon) * rise
    noise = smooth_noise(rng, canvas.height_px, canvas.width_px, int(rng.integers(2, 6)))
    cover = np.clip((noise - rng.uniform(0.4, 0.7)) * 4, 0, 1)[:, :, None] * 0.8
    cloud = np.minimum(1.0, horizon * rng.uniform(0.85, 1.2))
    return (clear_HWC * (1 - cover) + cloud * cover).astype(np.float32)


def _reduce(image_HWC: Floats) -> Floats:
    # Sums of strided views: ten times as fast as a mean over two axes of a reshaped array.
    factor = SUPERSAMPLE
    total = np.zeros_like(image_HWC[::factor, ::factor])
    for row in range(factor):
        for column in range(factor):
            total += image_HWC[row::factor, column::factor]
    return total / np.float32(factor**2)


def _halo(glow_HWC: Floats) -> Floats:
    """Light spilling over its surroundings in the lens, near and far."""
    glow = Image.fromarray((np.clip(glow_HWC / GLOW_LIMIT, 0, 1) * 255).astype(np.uint8))
    width = glow_HWC.shape[1]
    spill = np.zeros_like(glow_HWC)
    for radius, strength in ((width / 100, 0.35), (width / 26, 0.45)):
        soft = np.asarray(glow.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        spill += np.float32(strength * GLOW_LIMIT / 255) * soft
    return spill


def _develop(scene_HWC: Floats, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(*light.exposure) * rng.uniform(
        1 - light.white_balance, 1 + light.white_balance, 3
    )
    exposed = np.clip(scene_HWC * gain.astype(np.float32), 0, 4)
    # Highlights roll off instead of clipping.
    toned = np.where(exposed > 0.8, 1 - 0.2 * np.exp(-(exposed - 0.8) / 0.2), exposed)
    blurred = Image.fromarray((toned ** (1 / GAMMA) * 255).astype(np.uint8))
    blurred = blurred.filter(ImageFilter.GaussianBlur(rng.uniform(*light.blur_px)))
    sigma = rng.uniform(*light.noise)
    shape = scene_HWC.shape
    # Half of the noise is common to the channels: brightness, the rest colour.
    noise = rng.standard_normal(shape, np.float32) + rng.standard_normal(
        (*shape[:2], 1), np.float32
    )
    noisy = np.asarray(blurred, np.float32) / 255 + np.float32(sigma / np.sqrt(2)) * noise
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8)
