"""What the application does with cards, over stores in memory."""

import pickle
import uuid
from dataclasses import replace

import pytest

from omma.domain.cards import CardId, ItemId, RecogniseOptions
from omma.domain.errors import (
    CardNotFound,
    EmptyImage,
    IndexMissing,
    InvalidInput,
    OperationNotFound,
    QuotaExceeded,
    RateLimited,
    SessionNotFound,
    StoreUnavailable,
    TooManyPixels,
    TruncatedImage,
    UndecodableImage,
)
from omma.domain.faces import Lane
from omma.operations.registry import bind, handle_methods
from omma.services.cards import CardLimits, Claim
from omma.services.scans import ScanLimits, Scans
from omma.services.tokens import RateLimits
from omma.stores.blobs import open_blobs
from omma.vision.images import ImageLimits
from tests.card_fakes import (
    BLUE,
    BOLT,
    ELF,
    GREEN,
    MOON,
    RED,
    REPRINT,
    YELLOW,
    FakeCardMatcher,
    card_service,
    memory_records,
    photo,
)
from tests.fakes import capabilities
from tests.index_fakes import MemoryCardSessions, MemoryCorrections
from tests.job_fakes import MemoryJobs
from tests.service_fakes import MemoryBlobs

ALL = RecogniseOptions(max_cards=30)
OWNER = "anna"


class Kept:
    """A service whose stores can be looked into."""

    def __init__(self, **given):
        self.jobs = MemoryJobs()
        self.blobs = open_blobs("memory://")
        self.corrections = MemoryCorrections()
        self.service = card_service(
            **{
                "sweeps": self.jobs.sweeps,
                "blobs": self.blobs,
                "corrections": self.corrections,
                **given,
            }
        )

    @property
    def due(self):
        """Folders that would be swept."""
        return set(self.jobs.folders)


@pytest.fixture
def kept():
    return Kept()


async def recognised(service, image, options=ALL):
    [found] = await service.recognise([image], options)
    return found


async def test_every_card_comes_with_its_record():
    found = await recognised(card_service(), photo(RED, BLUE))

    assert [each.item for each in found.recognition.matches] == [
        ItemId(BOLT.card_id),
        ItemId(MOON.card_id, 1),
    ]
    assert found.cards[MOON.card_id] == MOON
    assert found.removed == ()


async def test_what_is_answered_names_only_cards_that_come_with_it():
    found = await recognised(card_service(), photo(GREEN))

    [match] = found.recognition.matches
    named = {match.item, *match.printings, *(each.item for each in match.alternatives)}
    assert {each.card_id for each in named} == {ELF.card_id, REPRINT.card_id} == set(found.cards)


async def test_a_card_that_was_removed_since_the_index_was_made_is_not_claimed():
    found = await recognised(card_service(), photo(YELLOW, RED))

    assert [each.item.card_id for each in found.recognition.matches] == [BOLT.card_id]
    assert len(found.removed) == 1


async def test_one_bad_image_fails_alone_and_lane_and_options_reach_the_matcher():
    matcher = FakeCardMatcher()

    outcomes = await card_service(matcher).recognise([b"no image", photo(RED)], ALL, lane=Lane.JOB)

    assert isinstance(outcomes[0], UndecodableImage)
    assert len(outcomes[1].recognition.matches) == 1
    assert [(options, lane) for _, options, lane in matcher.asked] == [(ALL, Lane.JOB)]


async def test_where_nothing_is_claimed_no_record_is_read():
    records = memory_records()
    records.is_down = True

    found = await recognised(card_service(records=records), photo())

    assert found.recognition.matches == ()


@pytest.mark.parametrize("error", [IndexMissing("no snapshot", 5), StoreUnavailable("away", 5)])
async def test_what_holds_for_every_image_is_raised(error):
    with pytest.raises(type(error)):
        await recognised(card_service(FakeCardMatcher(fault=error)), photo(RED))


@pytest.mark.parametrize("max_cards", [0, -1, 31])
async def test_no_more_cards_are_looked_for_than_the_server_allows(max_cards):
    with pytest.raises(InvalidInput, match="max_cards from 1 to 30"):
        await recognised(card_service(), photo(RED), RecogniseOptions(max_cards=max_cards))


async def test_what_was_recognised_crosses_processes():
    found = await recognised(card_service(), photo(GREEN))

    again = pickle.loads(pickle.dumps(found))

    assert again.cards == found.cards
    assert again.recognition.matches[0].item == found.recognition.matches[0].item


@pytest.mark.parametrize("card_id", ["", "nothing", "a\0b", "x" * 201, "../../etc/passwd"])
async def test_an_id_that_no_card_has_is_not_found(card_id):
    with pytest.raises(CardNotFound):
        await card_service().get(card_id)


async def test_cards_are_found_by_name():
    service = card_service()

    assert await service.get(BOLT.card_id) == BOLT
    assert {each.card_id for each in await service.search("green elf", limit=9)} == {
        ELF.card_id,
        REPRINT.card_id,
    }
    assert await service.search("a\0b", limit=9) == []


async def test_a_correction_is_kept_with_its_image(kept):
    image = photo(RED)

    correction = await kept.service.correct(
        image, Claim(ItemId(MOON.card_id, 1), ItemId(BOLT.card_id), OWNER)
    )

    assert [correction] == [
        replace(each, created_at=correction.created_at)
        for each in await kept.corrections.recent(limit=9)
    ]
    assert str(uuid.UUID(correction.correction_id)) == correction.correction_id
    assert correction.image.startswith(f"corrections/{correction.correction_id}/")
    assert await kept.blobs.read(correction.image) == image
    assert (correction.created_by, correction.claimed) == (OWNER, ItemId(BOLT.card_id))
    assert kept.due == set()


async def test_nobody_corrects_without_end(kept):
    service = replace(kept.service, limits=CardLimits(max_corrections=2))
    for _ in range(2):
        kept.corrections.now_ms = round((await correct(service)).created_at.timestamp() * 1000)

    with pytest.raises(QuotaExceeded, match="2 corrections"):
        await correct(service)
    await correct(service, "another")
    kept.corrections.advance(86_401)

    assert await correct(service)


async def correct(service, owner=OWNER):
    return await service.correct(photo(RED), Claim(None, None, owner))


async def test_an_image_may_show_no_card_at_all(kept):
    correction = await kept.service.correct(photo(), Claim(None, None, OWNER))

    assert correction.item is None


class ForgetfulCorrections(MemoryCorrections):
    async def add(self, correction):
        raise StoreUnavailable(correction.correction_id, 5)


async def test_an_image_whose_correction_was_not_recorded_is_swept():
    kept = Kept(corrections=ForgetfulCorrections())

    with pytest.raises(StoreUnavailable):
        await kept.service.correct(photo(RED), Claim(ItemId(BOLT.card_id), None, OWNER))

    [folder] = kept.due
    assert folder.startswith("corrections/")


async def test_nothing_is_put_before_it_is_known_as_due_to_be_swept():
    kept = Kept(blobs=MemoryBlobs(is_down=True))

    with pytest.raises(StoreUnavailable):
        await kept.service.correct(photo(RED), Claim(None, None, OWNER))

    assert len(kept.due) == 1


@pytest.mark.parametrize(
    ("item", "claimed", "error"),
    [
        (ItemId(CardId("nothing")), None, CardNotFound),
        (ItemId(BOLT.card_id, 1), None, InvalidInput),
        (None, ItemId(CardId("x" * 201)), InvalidInput),
        (None, ItemId(CardId("a\0b")), InvalidInput),
    ],
)
async def test_a_correction_names_a_card_there_is(kept, item, claimed, error):
    with pytest.raises(error):
        await kept.service.correct(photo(RED), Claim(item, claimed, OWNER))

    assert (kept.due, kept.corrections.added) == (set(), {})


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"", EmptyImage),
        (b"no image", UndecodableImage),
        (photo(RED)[:-900], TruncatedImage),
        (photo(width=1000), TooManyPixels),
    ],
)
async def test_a_correction_is_of_an_image(image, error):
    kept = Kept(limits=CardLimits(images=ImageLimits(max_pixels=400_000)))

    with pytest.raises(error):
        await kept.service.correct(image, Claim(None, None, OWNER))

    assert (kept.due, kept.corrections.added) == (set(), {})


async def test_a_session_waits_and_then_has_the_last_result():
    scans = Scans(MemoryCardSessions())
    session_id = await scans.open(OWNER)

    before = await scans.state(session_id)
    await scans.leave(session_id, {"at": 1})
    await scans.leave(session_id.upper(), {"at": 2})

    assert (before.state, before.result) == ("waiting", None)
    assert (await scans.state(session_id)).result == {"at": 2}


async def test_sessions_end_and_are_forgotten():
    sessions = MemoryCardSessions()
    scans = Scans(sessions, ScanLimits(ttl_s=55 * 60, max_open=1))
    first = await scans.open(OWNER)
    with pytest.raises(QuotaExceeded):
        await scans.open(OWNER)

    sessions.advance(55 * 60 + 1)
    second = await scans.open(OWNER)

    assert list(sessions.opened) == [second]
    for asked in (scans.state(first), scans.enter(first), scans.leave(first, {})):
        with pytest.raises(SessionNotFound):
            await asked


@pytest.mark.parametrize("session_id", ["", "1", "../x", "a\0b", "0" * 36])
async def test_what_is_no_session_id_is_looked_up_nowhere(session_id):
    sessions = MemoryCardSessions(is_down=True)

    with pytest.raises(SessionNotFound):
        await Scans(sessions).state(session_id)


async def test_a_session_scans_no_faster_than_its_rate():
    now = [0.0]
    limits = ScanLimits(rate=RateLimits(1.0, 2))
    scans = Scans(MemoryCardSessions(), limits, clock=lambda: now[0])
    session_id, other = await scans.open(OWNER), await scans.open(OWNER)
    await scans.enter(session_id)
    await scans.enter(session_id)

    with pytest.raises(RateLimited):
        await scans.enter(session_id)

    await scans.enter(other)
    now[0] = 1.5
    await scans.enter(session_id)


@pytest.mark.parametrize(
    ("params", "most"), [({}, 30), ({"is_crop": True}, 1), ({"max_cards": 3}, 3)]
)
async def test_an_operation_looks_for_as_many_cards_as_the_server_allows(params, most):
    matcher = FakeCardMatcher()
    handler = bind(capabilities(cards=card_service(matcher)))["card_match"]

    await handler.run([photo(RED)], handler.check(params), lane=Lane.JOB)

    [(_, options, _)] = matcher.asked
    assert options.max_cards == most


async def test_a_job_keeps_what_the_route_answers():
    handler = bind(capabilities())["card_match"]
    [found] = await handler.run([photo(RED, GREEN)], {}, lane=Lane.JOB)

    kept = handler.keep(found, "jobs/3f0c")

    assert kept.files == {}
    assert set(kept.result) == {"image", "snapshot", "cards"}
    assert [each["name"] for each in kept.result["cards"]] == ["Red Bolt", "Green Élf"]
    assert len(kept.result["cards"][0]["outline"]) == 4
    assert handler.measure(found)["cards_found"] == 2


@pytest.mark.parametrize("params", [{"max_cards": 31}, {"min_score": 2}, {"colour": "red"}])
def test_parameters_that_can_never_be_answered_are_refused(params):
    with pytest.raises(InvalidInput):
        bind(capabilities())["card_match"].check(params)


class Door:
    """What the methods of the application's handle are put on."""

    recognise_cards = handle_methods()["recognise_cards"]

    def __init__(self, cards):
        self.operations = bind(replace(capabilities(), cards=cards))


async def test_a_handle_recognises_cards():
    found = await Door(card_service()).recognise_cards(photo(RED, BLUE), max_cards=1)

    assert [each.item.card_id for each in found.recognition.matches] == [BOLT.card_id]


async def test_an_operation_whose_feature_is_off_is_not_there_and_its_handle_says_so():
    door = Door(None)

    with pytest.raises(OperationNotFound, match="card_match"):
        await door.recognise_cards(photo(RED))

    assert "card_match" not in door.operations
    assert "image_embedding" in door.operations
