"""Windows that overlap on every key: searched for together, on a grid of cells."""
