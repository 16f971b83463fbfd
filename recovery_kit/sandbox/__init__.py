"""A real Apache Kafka on loopback, and an incident simulated on it."""
