"""A delivery from due to receipt: claims, intents, outcomes, maintenance."""
