"""What a record's value is, beyond plain JSON: one file a format, and the schema registry. Nothing here knows Beam."""
