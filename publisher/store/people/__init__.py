"""Users: who may sign in, with what, and what they are signed in with."""
