"""Register maps and the hardware that holds them."""
