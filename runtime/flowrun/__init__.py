"""The runtime: executes plans on NATS JetStream."""
