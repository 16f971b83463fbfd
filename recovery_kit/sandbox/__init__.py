"""A real Apache Kafka on loopback, and an incident simulated on it."""

from recovery_kit.sandbox.kafka import Kafka
from recovery_kit.sandbox.shared import Demo, demo

__all__ = ["Demo", "Kafka", "demo"]
