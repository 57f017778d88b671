"""What the HTTP API takes and gives, room by room."""
