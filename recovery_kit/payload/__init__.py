"""How a message becomes rows of the events table: the plain ones in bulk, the others exactly."""
