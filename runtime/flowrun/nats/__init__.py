"""The transport over NATS JetStream. Only this package imports nats.

`protocol` writes and reads the bytes of messages; `line` keeps a client connected; `connection` asks and turns errors
into ours, `api` knows JetStream's. `publisher` writes to streams, many messages in flight; `pull` keeps messages of a
consumer coming, for `reading` in order and for `work`, what workers get; `direct` gets single messages; `streams` says
how streams and consumers are set up. On these stand `inbox`, `delayed`, `dispatching` with its fences, `entries`,
`results`, `blobs`, which cuts large values into messages, and `collect`, which removes them. `transport` puts all
together behind the port.
"""
