"""Gates over what a bundle says: its SQL, its code as text, its tools, its tasks."""
