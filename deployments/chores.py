"""The chores of durable jobs: what, and how often."""

from functools import partial

from deployments.records import Records
from omma.ports.deliveries import DeliveryKind
from omma.services.broadcast import Publisher
from omma.services.chores import Chore
from omma.services.deliveries import CallbackOptions, Deliverer, Senders
from omma.services.sweeper import Sweeper
from omma.settings import Settings
from omma.stores.posting import GuardedPoster, PlainPoster

EXPIRED, PRUNED = 100, 1000  # rows of one transaction
EXPIRE_S, DELIVER_S, PUBLISH_S, SWEEP_S, PRUNE_S, ABANDON_S = 2.0, 1.0, 0.2, 10.0, 60.0, 60.0
STALE_S = 3600.0  # a batch that is still open then has lost its client


def all_chores(settings: Settings, records: Records) -> list[Chore]:
    """Everything that keeps jobs going when nobody asks."""
    sweeper = Sweeper(records.files, records.sweeps, records.jobs)
    keep_s = settings.events.retention_s
    chores = [
        Chore("expire", EXPIRE_S, partial(records.queue.expire, limit=EXPIRED)),
        Chore("deliver", DELIVER_S, _deliverer(settings, records, DeliveryKind.CALLBACK).run_once),
        Chore("post", DELIVER_S, _deliverer(settings, records, DeliveryKind.MEDIA_STORE).run_once),
        Chore("sweep", SWEEP_S, sweeper.run_once),
        Chore("prune", PRUNE_S, partial(records.events.prune, older_than_s=keep_s, limit=PRUNED)),
        Chore("abandon", ABANDON_S, partial(_abandon, records)),
    ]
    if broker := records.broker:
        publisher = Publisher(records.events, records.cursors, broker)
        chores.append(Chore("publish", PUBLISH_S, publisher.run_once))
    return chores


def _deliverer(settings: Settings, records: Records, kind: DeliveryKind) -> Deliverer:
    callbacks, urls = settings.callbacks, settings.urls
    senders = Senders(
        guarded=GuardedPoster(timeout_s=callbacks.timeout_s, allow_private=urls.allow_private),
        plain=PlainPoster(timeout_s=callbacks.timeout_s),
        media_store=records.media,
    )
    options = CallbackOptions(
        url=callbacks.url,
        secret=callbacks.secret.get_secret_value(),
        max_tries=callbacks.max_tries,
        media_store_tries=settings.media_store.max_tries,
    )
    return Deliverer(records.deliveries, senders, options, kind)


async def _abandon(records: Records) -> int:
    stale = await records.batches.stale(STALE_S)
    for batch_id in stale:
        await records.batches.abandon(batch_id)
    return len(stale)
