"""The handlers of the dashboard's pages and actions."""
