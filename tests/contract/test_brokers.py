import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiomqtt
import pytest

from omma.domain.errors import BrokerUnreachable
from omma.domain.events import Event, EventKind
from omma.services.broadcast import CURSOR, Publisher
from omma.stores.brokers import MqttBroker, MqttOptions
from tests.brokers import broker
from tests.job_fakes import MemoryJobs
from tests.streaming import submit

__all__ = ["broker"]

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
TOPIC = "inference/events"
PATIENCE_S = 15.0


def event(seq):
    return Event(seq, EventKind.COMPLETED, f"job {seq}", "ada", AT, {"state": "completed"})


@asynccontextmanager
async def listening(broker, topic=TOPIC):
    client = aiomqtt.Client(
        "127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, identifier="listener"
    )
    async with client:
        await client.subscribe(topic)
        yield client.messages


async def heard(messages, count):
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(messages) for _ in range(count)]


@pytest.fixture
async def mqtt(broker):
    mqtt = MqttBroker(MqttOptions("127.0.0.1", broker.port, timeout_s=5.0))
    yield mqtt
    await mqtt.close()


async def test_a_message_is_as_documented(broker, mqtt):
    async with listening(broker) as messages:
        await mqtt.publish([event(7)])
        [message] = await heard(messages, 1)

    assert str(message.topic) == "inference/events"
    assert not message.retain
    assert json.loads(message.payload) == {
        "event": "job_completed",
        "data": {"job_id": "job 7", "seq": 7, "state": "completed"},
        "timestamp": 1767323045678,
    }


async def test_the_order_is_kept(broker, mqtt):
    async with listening(broker) as messages:
        await mqtt.publish([event(seq) for seq in range(300)])
        got = await heard(messages, 300)

    assert [json.loads(message.payload)["data"]["job_id"] for message in got] == [
        f"job {seq}" for seq in range(300)
    ]


async def test_the_topic_is_what_was_asked_for(broker):
    mqtt = MqttBroker(MqttOptions("127.0.0.1", broker.port, topic="else/where"))
    async with listening(broker, "else/where") as messages:
        await mqtt.publish([event(1)])
        await heard(messages, 1)
    await mqtt.close()


async def test_nobody_listening_is_unreachable(broker, mqtt):
    broker.kill()

    with pytest.raises(BrokerUnreachable, match=f"127.0.0.1:{broker.port}"):
        await mqtt.publish([event(1)])


async def test_an_unknown_host_is_unreachable():
    with pytest.raises(BrokerUnreachable):
        await MqttBroker(MqttOptions("nowhere.invalid", timeout_s=5.0)).publish([event(1)])


async def test_a_broker_that_says_nothing_is_unreachable(broker, mqtt):
    broker.freeze()

    with pytest.raises(BrokerUnreachable, match="timed out"):
        await mqtt.publish([event(1)])


async def test_a_broker_that_refuses_the_password_is_unreachable(broker):
    options = MqttOptions("127.0.0.1", broker.port, username="ada", password="wrong")  # noqa: S106
    mqtt = MqttBroker(options)

    with pytest.raises(BrokerUnreachable) as refused:
        await mqtt.publish([event(1)])

    assert "wrong" not in str(refused.value)


async def test_a_broker_that_comes_back_is_found_again(broker, mqtt):
    await mqtt.publish([event(1)])
    broker.kill()
    with pytest.raises(BrokerUnreachable):
        await failing(mqtt)
    broker.start()

    async with listening(broker) as messages:
        await mqtt.publish([event(3)])
        [message] = await heard(messages, 1)

    assert json.loads(message.payload)["data"]["job_id"] == "job 3"


async def failing(mqtt):
    """Publish until the broker's absence is noticed."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await mqtt.publish([event(2)])
            await asyncio.sleep(0.01)


async def test_closing_twice_is_no_matter(mqtt):
    await mqtt.close()
    await mqtt.close()


async def test_what_happens_while_the_broker_is_away_is_published_when_it_is_back(broker, mqtt):
    jobs = MemoryJobs()
    publisher = Publisher(jobs.log, jobs.cursors, mqtt)
    await publisher.run_once()
    broker.kill()
    await submit(jobs, *(f"job {n}" for n in range(50)))
    with pytest.raises(BrokerUnreachable):
        await publisher.run_once()
    broker.start()

    async with listening(broker) as messages:
        assert await publisher.run_once() == 50
        got = await heard(messages, 50)

    assert [json.loads(message.payload)["data"]["job_id"] for message in got] == [
        f"job {n}" for n in range(50)
    ]
    assert await jobs.cursors.read(CURSOR) == jobs.seq
