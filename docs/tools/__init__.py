"""Tools that build and check the documentation. They are not pages of it."""
