"""What is said: Phoenix's protocol as pure rules, and how its messages look on the wire."""
