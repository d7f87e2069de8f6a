"""Named mutations of our own code, and the tests that must fail with each of them."""
