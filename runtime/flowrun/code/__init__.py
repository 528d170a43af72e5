"""The Python code that a deployment carries: packed once, unpacked once per node, with an environment of its own.

project folder ──▶ packing ──▶ blob (a zip under its content hash, named by the plans)
                                  │
                                  ▼
        unpacking ◀── store (a node's folder: what is there, in use, or to be dropped) ──▶ environment (dependencies)

A *code* is one such bundle; the word bundle is taken by work that travels together (`messages.Bundle`).
"""
