"""The settings that Kafka's Java client (4.3) and librdkafka (2.12) know: those used here, those
left aside.
"""

from __future__ import annotations

_USED = """
    bootstrap.servers metadata.broker.list client.id client.dns.lookup request.timeout.ms
    isolation.level security.protocol ssl.truststore.type ssl.truststore.location
    ssl.truststore.password ssl.truststore.certificates ssl.keystore.type ssl.keystore.location
    ssl.keystore.password ssl.keystore.certificate.chain ssl.keystore.key ssl.key.password
    ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.key.location
    ssl.key.pem ssl.crl.location ssl.endpoint.identification.algorithm
    enable.ssl.certificate.verification ssl.enabled.protocols ssl.cipher.suites
    ssl.engine.factory.class sasl.mechanism sasl.mechanisms sasl.jaas.config sasl.username
    sasl.password sasl.kerberos.service.name sasl.kerberos.principal sasl.kerberos.keytab
    sasl.oauthbearer.method sasl.oauthbearer.token.endpoint.url sasl.oauthbearer.scope
    sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.grant.type
    sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.pem sasl.oauthbearer.metadata.authentication.type
    sasl.oauthbearer.header.urlencode sasl.oauthbearer.extensions https.ca.location https.ca.pem
    sasl.login.connect.timeout.ms sasl.login.read.timeout.ms
"""

_ASIDE = """
    acks allow.auto.create.topics api.version.fallback.ms api.version.request
    api.version.request.timeout.ms auto.commit.enable auto.commit.interval.ms auto.offset.reset
    batch.num.messages batch.size bootstrap.controllers broker.address.family broker.address.ttl
    broker.version.fallback buffer.memory builtin.features check.crcs client.rack compression.codec
    compression.gzip.level compression.level compression.lz4.level compression.type
    compression.zstd.level config.providers connections.max.idle.ms consume.callback.max.messages
    coordinator.query.interval.ms debug default.api.timeout.ms delivery.report.only.error
    delivery.timeout.ms enable.auto.commit enable.auto.offset.store enable.gapless.guarantee
    enable.idempotence enable.metrics.push enable.partition.eof enable.random.seed
    enable.sasl.oauthbearer.unsecure.jwt enabled_events exclude.internal.topics
    fetch.error.backoff.ms fetch.max.bytes fetch.max.wait.ms fetch.message.max.bytes fetch.min.bytes
    fetch.queue.backoff.ms fetch.wait.max.ms group.id group.instance.id group.protocol
    group.protocol.type group.remote.assignor heartbeat.interval.ms interceptor.classes
    internal.termination.signal key.deserializer key.serializer linger.ms log.connection.close
    log.queue log.thread.name log_level max.block.ms max.in.flight
    max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms
    max.poll.records max.request.size message.copy.max.bytes message.max.bytes
    message.send.max.retries message.timeout.ms metadata.max.age.ms metadata.max.idle.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy metric.reporters
    metrics.num.samples metrics.recording.level metrics.sample.window.ms offset.store.method
    offset.store.path offset.store.sync.interval.ms partition.assignment.strategy partitioner
    partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms partitioner.class
    partitioner.ignore.keys plugin.library.paths produce.offset.report
    queue.buffering.backpressure.threshold queue.buffering.max.kbytes queue.buffering.max.messages
    queue.buffering.max.ms queued.max.messages.kbytes queued.min.messages queuing.strategy
    receive.buffer.bytes receive.message.max.bytes reconnect.backoff.jitter.ms
    reconnect.backoff.max.ms reconnect.backoff.ms request.required.acks retries retry.backoff.max.ms
    retry.backoff.ms sasl.client.callback.handler.class sasl.kerberos.kinit.cmd
    sasl.kerberos.min.time.before.relogin sasl.kerberos.ticket.renew.jitter
    sasl.kerberos.ticket.renew.window.factor sasl.login.callback.handler.class sasl.login.class
    sasl.login.refresh.buffer.seconds sasl.login.refresh.min.period.seconds
    sasl.login.refresh.window.factor sasl.login.refresh.window.jitter
    sasl.login.retry.backoff.max.ms sasl.login.retry.backoff.ms security.providers send.buffer.bytes
    session.timeout.ms share.acknowledgement.mode share.acquire.mode socket.blocking.max.ms
    socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms
    socket.keepalive.enable socket.max.fails socket.nagle.disable socket.receive.buffer.bytes
    socket.send.buffer.bytes socket.timeout.ms ssl.ca.certificate.stores ssl.curves.list
    ssl.engine.id ssl.engine.location ssl.keymanager.algorithm ssl.protocol ssl.provider
    ssl.providers ssl.secure.random.implementation ssl.sigalgs.list ssl.trustmanager.algorithm
    statistics.interval.ms sticky.partitioning.linger.ms topic.blacklist
    topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
    topic.metadata.refresh.sparse transaction.timeout.ms transaction.two.phase.commit.enable
    transactional.id value.deserializer value.serializer
"""

USED = frozenset(_USED.split())
"""Settings that decide how the kit connects, in either spelling."""

ASIDE = frozenset(_ASIDE.split())
"""Settings that do not matter to a bounded read without a group, or that the kit decides by itself.
"""

ASIDE_PREFIXES = (
    "auto.register.schemas",
    "basic.auth.",
    "bearer.auth.",
    "config.providers.",
    "confluent.",
    "sasl.oauthbearer.assertion.",
    "sasl.oauthbearer.clock.",
    "sasl.oauthbearer.expected.",
    "sasl.oauthbearer.jwks.",
    "sasl.oauthbearer.jwt.",
    "sasl.oauthbearer.scope.claim.",
    "sasl.oauthbearer.sub.claim.",
    "schema.registry.",
)
"""Families of settings that belong to brokers, schema registries and config providers."""
