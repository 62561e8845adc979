"""What the system can do with images: each operation declared once."""
