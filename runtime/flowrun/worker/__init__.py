"""Executes bundles of work: `agent` pulls them, `executor` processes run the user's code, `supervisor` starts both.

work stream ──▶ agent (worker process: connection, leases, time limits; never runs user code)
                  │ `provisions`: plans, deployed code, secrets
                  │ a pool per kind of executor, its slots: jobs down a socket, tokens down a pipe
                  ▼
                executor process (user code, of one code: one unit at a time, many coroutines, or threads)
                  │ results through shared memory
                  ▼
inbox ◀── outbox: results of all bundles that are ready, in one message; then their acknowledgements
"""
