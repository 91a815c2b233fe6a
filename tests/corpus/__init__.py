"""Bad input, generated: pictures, tables and specs that no command may stumble over, and the calls they go through."""
