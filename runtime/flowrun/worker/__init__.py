"""Executes bundles of work: `agent` pulls them, `executor` processes run the user's code, `supervisor` starts both.

work stream ──▶ agent (worker process: connection, leases, time limits; never runs user code)
                  │ one slot per executor: jobs down a socket, tokens down a pipe
                  ▼
                executor process (runs user code, one item at a time) ── results through shared memory ──▶ agent
                                                                                                            │
inbox ◀── results of the bundle, then its acknowledgement ──────────────────────────────────────────────────┘
"""
