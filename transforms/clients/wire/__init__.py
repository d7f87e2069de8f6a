"""What several protocols share: connections, status codes, JSON, protobuf, outputs matched to rows."""
