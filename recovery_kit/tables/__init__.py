"""Tables in and out: Arrow columns, exact decimals, the engine, and what users give."""
