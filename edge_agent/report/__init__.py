"""What we tell the server: the as-run log, the durable outbox, birth and health, alerts."""
