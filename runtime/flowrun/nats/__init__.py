"""The transport over NATS JetStream. Only this package imports nats.

`connection` keeps one connection alive and turns its errors into ours; `publisher` writes to streams, many messages
in flight; `pull` reads from consumers; `streams` says how streams and consumers are set up; `blobs` cuts large values
into messages; `transport` puts them together behind the port.
"""
