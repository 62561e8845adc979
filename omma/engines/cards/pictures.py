"""From an encoded card picture to what an index keeps of it."""

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import Features
from omma.engines.cards.options import CardEngineOptions
from omma.engines.cards.packing import pack
from omma.engines.cards.sights import PrintingJudge
from omma.vision.appearance import cut_look
from omma.vision.contrast import even_lightness, fit_longer
from omma.vision.images import ImageLimits, decode, probe, reduction_for
from omma.vision.keypoints import find_spread

FORM = "sift-2"  # rises when the same options give other features
LIMITS = ImageLimits()
DETAIL_PX = 1000  # longer side that a picture is decoded at, where it has so many


def name_features(options: CardEngineOptions, judge: PrintingJudge) -> str:
    """The same for equal features: what the ledger files them under."""
    return f"{FORM}-{options.picture_px}px-{options.picture_keypoints}-{judge.form}"


def extract(image: bytes, options: CardEngineOptions, judge: PrintingJudge) -> Features:
    """What is seen of one card picture; raises `InvalidInput` and its kin."""
    header = probe(image, LIMITS)
    picture = decode(image, header, reduction=reduction_for(header, DETAIL_PX))
    return look_at(picture, options, judge)


def look_at(
    picture: UInt8[np.ndarray, "h w 3"], options: CardEngineOptions, judge: PrintingJudge
) -> Features:
    """What is seen of an upright RGB picture of a card and nothing else."""
    small, _ = fit_longer(picture, options.picture_px, enlarge=2.0)
    found = find_spread(even_lightness(small), options.picture_keypoints)
    return Features(
        keypoints=found.places,
        descriptors=found.descriptors,
        width_px=small.shape[1],
        height_px=small.shape[0],
        regions=pack(cut_look(picture), judge.cut(picture)),
    )
