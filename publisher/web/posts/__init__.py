"""Posts on the dashboard: lists, one post, its deliveries, search, and the actions on them."""
