"""The first page: the day, its deliveries, and the visitor's waiting items."""
