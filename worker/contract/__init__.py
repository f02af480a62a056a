"""From bytes to events and rows. Pure, and total."""
