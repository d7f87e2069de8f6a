"""A model server's protocol, in a package of its own."""
