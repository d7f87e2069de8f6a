"""Small real servers to test against, which fail on demand; on 127.0.0.1 only. Production code never imports them."""
