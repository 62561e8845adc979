"""Card recognition among very many cards: `python -m benchmarks.cards --cards N`.

Every query is answered by our engine and with the settings of the service that it takes the place
of, side by side, on one core. Both see the part of the photograph that the card fills, or ours the
whole of it. Real cards come from the folder that OMMA_EVAL_DATA names; without it all are drawn.
"""

import json
import multiprocessing
import os
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import faiss
import numpy as np
import psutil

from benchmarks.cards_corpus import Corpus, corpus_parser, draw_all
from benchmarks.cards_features import (
    PER_SHARD,
    Gathered,
    Shards,
    decoded,
    make_all,
    name_of,
    read_theirs,
    real_cards,
)
from benchmarks.cards_original import INDEXED, OriginalIndex, look
from benchmarks.cards_queries import Queries, Query
from benchmarks.report import RESULTS, report
from omma.domain.cards import CardId, CardMatch, ItemFeatures, ItemId, RecogniseOptions
from omma.engines.cards import SiftCardEngines
from omma.ports.cards import CardEngine

VERSION = "bench"
MIB = 2**20

Art = Callable[[str], str]  # from a card to the first one of its art


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What both said to one query."""

    query: Query
    match: CardMatch | None
    took_ms: float
    cpu_ms: float  # what it would have taken on a machine that does nothing else
    original: str | None
    original_ms: float


def main() -> None:
    """Draw, look, build, ask, report."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--queries", type=int, default=300, help="of each kind of drawn card")
    parser.add_argument("--skip-original", action="store_true")
    parser.add_argument("--whole", action="store_true", help="ours sees the whole photograph")
    args, _ = parser.parse_known_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # NumPy reads it when it is imported
        os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for a replica of one core
        command = [sys.executable, "-m", "benchmarks.cards", *sys.argv[1:]]
        os.execv(sys.executable, command)  # noqa: S606  ourselves
    cards = args.cards // PER_SHARD * PER_SHARD
    draw_all(args.work, cards + PER_SHARD, args.processes)
    make_all(args.work, cards, args.processes, both=not args.skip_original)
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    queries = _queries(args.work, cards, args.queries)
    folder = args.work / f"index-{cards}"
    build_s = _build(args.work, folder, queries)
    footprint = _apart(_footprint, folder, queries)
    original = None if args.skip_original else _original(args.work, queries)
    engine = SiftCardEngines().open(folder, version=VERSION)
    answers = _noted(_ask(engine, original, queries, whole=args.whole), queries, cards)
    _report(cards, queries, answers)
    size = {"what": f"{cards} cards", "build_s": build_s, **footprint, **_latency(answers)}
    report(f"cards-index-{cards}", "The index, and one query on one core", [size])


def _queries(work: Path, cards: int, many: int) -> Queries:
    data = Path(os.environ.get("OMMA_EVAL_DATA", "none"))
    return Queries(Corpus(work), cards, data, real_cards(data), many)


def _build(work: Path, folder: Path, queries: Queries) -> float:
    """Build it anew; seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    engines, shards = SiftCardEngines(), Shards(work)
    others = tuple(
        ItemFeatures(ItemId(CardId(name)), engines.extract(data))
        for name, data in queries.real.items()
        if name not in queries.held_out
    )
    firsts = range(0, queries.cards, PER_SHARD)
    reader = Gathered(tuple(shards.ours(first) for first in firsts), others)
    begun = time.perf_counter()
    stats = engines.build(reader, folder, version=VERSION)
    took_s = time.perf_counter() - begun
    print(f"built {stats} in {took_s:.0f} s", flush=True)
    return took_s


def _original(work: Path, queries: Queries) -> OriginalIndex:
    shards = Shards(work)
    seen = [
        s for first in range(0, queries.cards, PER_SHARD) for s in read_theirs(shards.theirs(first))
    ]
    names = [name_of(number) for number in range(queries.cards)]
    for name, data in queries.real.items():
        if name not in queries.held_out:
            names.append(name)
            seen.append(look(decoded(data), INDEXED))
    return OriginalIndex(names, seen)


def _apart(work: Callable[..., dict[str, float]], *args: object) -> dict[str, float]:
    """In a process of its own, for its memory's sake."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def _footprint(folder: Path, queries: Queries) -> dict[str, float]:
    """What opening the index costs, and what memory it takes after the first queries."""
    cv2.setNumThreads(1)
    engines = SiftCardEngines()
    photos = [query.photo for query, _ in zip(iter(queries), range(40), strict=False)]
    before = psutil.Process().memory_full_info()
    begun = time.perf_counter()
    engine = engines.open(folder, version=VERSION)
    load_s = time.perf_counter() - begun
    for photo in photos:
        engine.recognise([photo], RecogniseOptions())
    after = psutil.Process().memory_full_info()
    return {
        "load_s": load_s,
        "files_MiB": engine.stats.size_bytes / MIB,
        "rss_MiB": (after.rss - before.rss) / MIB,
        "pss_MiB": (after.pss - before.pss) / MIB,
    }


def _ask(
    engine: CardEngine, original: OriginalIndex | None, queries: Iterable[Query], *, whole: bool
) -> Iterator[Answer]:
    """Both, one query after the other."""
    asked = RecogniseOptions(is_crop=not whole)
    for number, query in enumerate(queries):
        begun, cpu_begun = time.perf_counter(), time.process_time()
        [found] = engine.recognise([query.photo if whole else query.region], asked)
        ended, cpu_ms = time.perf_counter(), 1000 * (time.process_time() - cpu_begun)
        theirs = original.match(query.region) if original else None
        took_ms, their_ms = 1000 * (ended - begun), 1000 * (time.perf_counter() - ended)
        match = next(iter(found.matches), None)
        yield Answer(query, match, took_ms, cpu_ms, theirs, their_ms)
        if number % 100 == 0:
            print(f"asked {number}", flush=True)


def _noted(answers: Iterable[Answer], queries: Queries, cards: int) -> list[Answer]:
    """All answers; each is written as it comes, for a look at those that are wrong."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    art, kept = _art(queries.corpus), list[Answer]()
    with (RESULTS / f"cards-answers-{cards}.jsonl").open("w") as lines:
        for answer in answers:
            kept.append(answer)
            lines.write(json.dumps(_line(answer, art)) + "\n")
            lines.flush()
    return kept


def _report(cards: int, queries: Queries, answers: Sequence[Answer]) -> None:
    kinds: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        kinds[answer.query.kind].append(answer)
    art = _art(queries.corpus)
    shown = [_row(kind, group, art) for kind, group in kinds.items() if group[0].query.answer]
    report(f"cards-{cards}", f"Which card it is, among {cards}", shown)
    nothing = [_empty(kind, group) for kind, group in kinds.items() if not group[0].query.answer]
    report(f"cards-none-{cards}", f"Cards claimed where none of {cards} is shown", nothing)


def _row(kind: str, group: Sequence[Answer], art: Art) -> dict[str, object]:
    count = len(group)
    claims = [(a, a.match) for a in group if a.match]
    exact = [m for a, m in claims if m.item.card_id == a.query.answer]
    grouped = [
        m
        for a, m in claims
        if not m.is_printing_certain
        and m.item.card_id != a.query.answer
        and any(item.card_id == a.query.answer for item in m.printings)
    ]
    return {
        "what": kind,
        "queries": count,
        "top-1 (art)": sum(_is_right(a, art) for a in group) / count,
        "nothing": 1 - len(claims) / count,
        "printing right": len(exact) / count,
        "certain, right": sum(m.is_printing_certain for m in exact) / count,
        "certain, wrong": sum(
            m.is_printing_certain and m.item.card_id != a.query.answer for a, m in claims
        )
        / count,
        "group instead": len(grouped) / count,
        "original top-1 (art)": sum(_same(art, a.original, a.query.answer) for a in group) / count,
        **_latency(group),
    }


def _empty(kind: str, group: Sequence[Answer]) -> dict[str, object]:
    return {
        "what": kind,
        "queries": len(group),
        "claimed": sum(a.match is not None for a in group),
        "original claimed": sum(a.original is not None for a in group),
        **_latency(group),
    }


def _latency(group: Sequence[Answer]) -> dict[str, float]:
    ours, theirs = [a.took_ms for a in group], [a.original_ms for a in group]
    return {
        "p50_ms": statistics.median(ours),
        "p95_ms": float(np.percentile(ours, 95)),
        "cpu p50_ms": statistics.median(a.cpu_ms for a in group),
        "original p50_ms": statistics.median(theirs),
        "original p95_ms": float(np.percentile(theirs, 95)),
    }


def _art(corpus: Corpus) -> Art:
    def of(name: str) -> str:
        if not name.startswith("drawn-"):
            return name
        return name_of(corpus.original(int(name.removeprefix("drawn-"))))

    return of


def _is_right(answer: Answer, art: Art) -> bool:
    claimed = answer.match and answer.match.item.card_id
    return _same(art, claimed, answer.query.answer)


def _same(art: Art, claimed: str | None, shown: str | None) -> bool:
    """Whether it is the same art; or nothing, where nothing is."""
    return (claimed and art(claimed)) == (shown and art(shown))


def _line(answer: Answer, art: Art) -> dict[str, object]:
    query, match = answer.query, answer.match
    distorted = query.distorted
    return {
        "kind": query.kind,
        "right": _is_right(answer, art),
        "shown": query.answer,
        "claimed": match and match.item.card_id,
        "certain": match and match.is_printing_certain,
        "score": match and float(match.score),
        "inliers": match and int(match.inliers),
        "took_ms": answer.took_ms,
        "cpu_ms": answer.cpu_ms,
        "original": answer.original,
        "original_right": _same(art, answer.original, query.answer),
        "photo": query.photo.shape[:2],
        "tilt": distorted and distorted.tilt,
        "area_px": distorted and float(cv2.contourArea(distorted.outline)),
        "effects": distorted and distorted.effects,
    }


if __name__ == "__main__":
    main()
