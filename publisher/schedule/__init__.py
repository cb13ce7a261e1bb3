"""schedule.toml, written by staff; accepted or rejected as a whole."""
