"""A broker, a model server and a generator for trying out and testing, with nothing installed beside pip packages."""
