"""What a run looks like: `tree` is the state that both views share, `live` draws it, `plain` prints its changes."""
