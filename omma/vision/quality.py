"""How fit a face is for recognition, from 0 to 1.

The product of four factors, each 0 to 1 and monotone in what it measures, so that one fault is
enough: the kind of score that ISO/IEC 29794-5 and OFIQ make of the same measurements.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from omma.vision.align import ARCFACE_POINTS

FACE_ROWS, FACE_COLUMNS = slice(24, 108), slice(20, 92)  # of the 112 px crop: brows to chin

# Laplacian variance over grey variance; a face at 0.03 is half sharp. Measured on 79 faces of
# television stills and portraits: median 0.23, lowest 0.02, and 0.007 after a 2 px Gaussian.
HALF_SHARP = 0.03

# Laplacian variance of rounding alone: 20 times 1/12, once for the crop and once for the grey.
ROUNDING = 2 * 20 / 12

# How far the nose of a face in profile lies beside its middle, in parts of `_extent`.
NOSE_DEPTH = 0.42
NOSE_HEIGHT = 0.55  # part of the way from eyes to mouth, median of the same faces
NOSE_TRAVEL = 0.5  # change of that part when the head looks straight up or down

# Roll at which no recogniser knows a face, as its landmarks show it. Detectors draw leaning faces
# too upright: at 90 degrees CenterFace's landmarks show 57, alignment turns by those alone, and
# the median similarity to the upright face is 0.24 (ArcFace) and -0.04 (FaceNet).
LOST_ROLL = np.radians(60)

# Grey levels; dark skin in good light averages 80 and more, so only bad light is dark here.
DARK_MEAN, BRIGHT_MEAN = 50.0, 205.0
BLACK, WHITE = 5, 250  # at and beyond these, detail is lost


def face_quality(
    crops: UInt8[np.ndarray, "n 112 112 3"], landmarks: Float32[np.ndarray, "n 5 2"]
) -> Float32[np.ndarray, " n"]:
    """Size, sharpness, pose and exposure of every face, multiplied.

    ``crops`` are aligned by `align_faces`; ``landmarks`` are in pixels of the original image.
    """
    look = [(sharpness(grey), exposure(grey)) for grey in map(_grey_face, crops)]
    factors = np.array(look, np.float64).reshape(-1, 2).prod(axis=1)
    return (factors * size(landmarks) * pose(landmarks)).astype(np.float32)


def size(landmarks: Float32[np.ndarray, "n 5 2"]) -> Float64[np.ndarray, " n"]:
    """Pixels of the face against those of the 112 px crop; 1 when nothing had to be enlarged."""
    across, down, _ = _axes(landmarks)
    whole_across, whole_down, _ = _axes(ARCFACE_POINTS[None])
    return np.minimum(1, _extent(across, down) / _extent(whole_across, whole_down))


def pose(landmarks: Float32[np.ndarray, "n 5 2"]) -> Float64[np.ndarray, " n"]:
    """Cosines of yaw and of pitch, as the nose's place between eyes and mouth tells them, and roll.

    Roll weighs as FaceNet's similarity to the same face upright falls, measured on 14 faces: 0.97
    where the landmarks show 13 degrees, 0.91 at 23, 0.80 at 35, 0.42 at 47, and 0.02 at 58.
    """
    across, down, nose = _axes(landmarks)
    upright = _unit(_unit(across) + _unit(np.stack([down[:, 1], -down[:, 0]], 1)))
    extent = _extent(across, down)
    sideways = _over((nose * upright).sum(1), extent)
    along = _over((nose * down).sum(1), _length(down) ** 2)
    yaw = _cosine((sideways - _over((down * upright).sum(1), extent) * along) / NOSE_DEPTH)
    pitch = _cosine((along - NOSE_HEIGHT) / NOSE_TRAVEL)
    roll = np.arccos(np.clip(upright[:, 0], -1, 1))
    return yaw * pitch * (1 - np.minimum(1, roll / LOST_ROLL) ** 3) * (extent > 0)


def sharpness(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) over that of the picture.

    The quotient asks how fine the contrasts are, not how strong: dim light is `exposure`'s affair.
    """
    edges = _variance(cv2.Laplacian(grey, cv2.CV_16S)) - ROUNDING
    return edges / (edges + HALF_SHARP * _variance(grey)) if edges > 0 else 0.0


def exposure(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Part of the pixels that are neither black nor white, less when all are dark or bright."""
    kept = cv2.countNonZero(cv2.inRange(grey, BLACK + 1, WHITE - 1)) / grey.size
    mean = cv2.mean(grey)[0]
    return kept * min(1.0, mean / DARK_MEAN, (255 - mean) / (255 - BRIGHT_MEAN))


def _grey_face(crop: UInt8[np.ndarray, "112 112 3"]) -> UInt8[np.ndarray, "h w"]:
    return cv2.cvtColor(crop[FACE_ROWS, FACE_COLUMNS], cv2.COLOR_RGB2GRAY)


def _variance(values: np.ndarray) -> float:
    deviation = np.asarray(cv2.meanStdDev(values)[1], np.float64)
    return float(deviation[0, 0] ** 2)


def _axes(
    landmarks: Float32[np.ndarray, "n 5 2"],
) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, "n 2"], Float64[np.ndarray, "n 2"]]:
    """From eye to eye, from the eyes' middle to the mouth's, and from there to the nose."""
    points = landmarks.astype(np.float64)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    return points[:, 1] - points[:, 0], mouth - eyes, points[:, 2] - eyes


def _extent(
    across: Float64[np.ndarray, "n 2"], down: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, " n"]:
    """The larger of eye distance and eye-to-mouth distance: one survives a turned head."""
    return np.maximum(_length(across), _length(down))


def _length(vectors: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
    return np.hypot(vectors[:, 0], vectors[:, 1])


def _unit(vectors: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    return _over(vectors, np.broadcast_to(_length(vectors)[:, None], vectors.shape))


def _over(value: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Quotient, 0 where ``by`` is 0."""
    return np.divide(value, by, out=np.zeros_like(value), where=by > 0)


def _cosine(sine: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.sqrt(1 - np.minimum(1, sine**2))
