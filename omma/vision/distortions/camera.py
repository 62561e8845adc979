"""What a camera does to a photograph: blur, noise, compression."""

import cv2
import numpy as np

from omma.vision.distortions.scenes import Rgb, Scene


def defocus(photo: Rgb, scene: Scene) -> Rgb:
    """Out of focus: a Gaussian blur."""
    sigma = float(scene.rng.uniform(0.2, 1)) * scene.limits.blur_px * scene.scale
    return cv2.GaussianBlur(photo, (0, 0), max(sigma, 0.1))


def move(photo: Rgb, scene: Scene) -> Rgb:
    """The camera moved by some px in one direction while it looked."""
    way = float(scene.rng.uniform(0.3, 1)) * scene.limits.motion_px * scene.scale
    angle = scene.rng.uniform(0, np.pi)
    half = int(np.ceil(way / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * way / 2
    ends = [(int(x), int(y)) for x, y in np.rint((np.stack([-reach, reach]) + half) * 16)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, shift=4)
    return cv2.filter2D(photo, -1, kernel / kernel.sum())


def add_grain(photo: Rgb, scene: Scene) -> Rgb:
    """Noise of the sensor, of its own in every channel."""
    rng = scene.rng
    sigma = float(rng.uniform(0.2, 1)) * scene.limits.noise
    grain = rng.standard_normal(photo.shape, np.float32) * sigma
    return (photo + grain).round().clip(0, 255).astype(np.uint8)


def compress(photo: Rgb, quality: int) -> Rgb:
    """What JPEG of this quality, 1 to 100, leaves of it."""
    bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return cv2.cvtColor(np.asarray(decoded), cv2.COLOR_BGR2RGB)
