"""Everything is built here and handed out; nothing else knows the adapters."""
