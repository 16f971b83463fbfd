"""All that knows Kafka: connection, offsets and coverage, record batches."""
