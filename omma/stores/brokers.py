"""Message brokers: MQTT, version 5."""

import asyncio
import logging
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiomqtt import Client, MqttError, ProtocolVersion

from omma.domain.errors import BrokerUnreachable
from omma.domain.events import Event

log = logging.getLogger(__name__)

AT_LEAST_ONCE = 1  # QoS
WINDOW = 10  # messages on their way at once; aiomqtt complains of more
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Where the broker is, and under what topic it hears of events."""

    host: str = "localhost"
    port: int = 1883
    topic: str = "inference/events"
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    timeout_s: float = 10.0


class MqttBroker:
    """One connection, made when it is needed and again after it was lost."""

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._client: GrantedClient | None = None

    async def publish(self, events: Sequence[Event]) -> None:
        try:
            client = self._client or await self._connect()
            for start in range(0, len(events), WINDOW):
                await self._send_all(client, events[start : start + WINDOW])
        except MqttError as error:
            await self.close()
            where = f"{self._options.host}:{self._options.port}"
            raise BrokerUnreachable(
                f"the broker at {where} does not answer: {error}", RETRY_AFTER_S
            ) from None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(None, None, None)
            except MqttError as error:
                log.debug("left a broker that was gone", extra={"reason": str(error)})

    async def _connect(self) -> "GrantedClient":
        options = self._options
        client = GrantedClient(
            options.host,
            options.port,
            identifier=f"omma-{uuid.uuid4().hex[:16]}",
            username=options.username or None,
            password=options.password or None,
            protocol=ProtocolVersion.V5,
            timeout=options.timeout_s,
            tls_context=ssl.create_default_context() if options.tls else None,
        )
        await client.__aenter__()
        self._client = client
        log.info("connected to the broker", extra={"host": options.host, "qos": client.granted_qos})
        return client

    async def _send_all(self, client: "GrantedClient", events: Sequence[Event]) -> None:
        """They leave in the order given; none is on its way any more when this returns."""
        sent = await asyncio.gather(
            *(self._send(client, event) for event in events), return_exceptions=True
        )
        for error in filter(None, sent):
            raise error

    async def _send(self, client: "GrantedClient", event: Event) -> None:
        await client.publish(
            self._options.topic,
            _message(event),
            qos=client.granted_qos,
        )


class GrantedClient(Client):
    """Notices what quality of service the broker has at most: some have none but "at most once"."""

    granted_qos = AT_LEAST_ONCE

    def _on_connect(  # the one place where the answer's properties are seen
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: Any,
        properties: Any = None,
    ) -> None:
        most: int = getattr(properties, "MaximumQoS", AT_LEAST_ONCE)
        self.granted_qos = min(AT_LEAST_ONCE, most)
        super()._on_connect(client, userdata, flags, reason_code, properties)


def _message(event: Event) -> bytes:
    told = {
        "event": event.kind.value,
        # seq tells an event that was sent twice from two that look alike
        "data": {"job_id": event.job_id, "seq": event.seq, **event.data},
        "timestamp": int(event.at.timestamp() * 1000),
    }
    return orjson.dumps(told)
