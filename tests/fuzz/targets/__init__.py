"""What is fuzzed: each target takes the fuzzer's bytes and raises if a promise is broken."""
