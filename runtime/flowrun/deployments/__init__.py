"""Deployments of projects: from compiled flows to a manifest (`building`), what a deployment would change (`changes`)
and what speaks against it (`objections`), the deployment itself (`committing`), what is deployed (`reading`), who may
deploy (`signing`, `trust`), and for how long what was deployed is kept (`keeping`).
"""

from __future__ import annotations
