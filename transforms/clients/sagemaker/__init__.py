"""Amazon SageMaker: real-time endpoints, asked by requests that are signed with AWS credentials."""
