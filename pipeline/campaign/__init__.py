"""A campaign as a whole: minutes of people, forgetting, and when to stop asking."""
