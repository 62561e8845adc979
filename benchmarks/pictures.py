"""The picture every measurement uses: 640x480 with one face."""

import cv2
import skimage.data


def one_face_jpeg() -> bytes:
    """The astronaut portrait that scikit-image carries, as a 640x480 JPEG of quality 90."""
    rgb = cv2.resize(skimage.data.astronaut(), (640, 640), interpolation=cv2.INTER_CUBIC)[:480]
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
