"""What tests stand on: a world that stands still, an adapter that behaves, and books that are quickly filled."""
