"""A log for tests to read."""


class Rows:
    """A log that is kept: an output of `common.loggers.logger.Logger`, or a logger itself."""

    def __init__(self):
        self.rows = []

    def write(self, row, timesteps):
        self.rows.append(row)

    def flush(self):
        pass

    def close(self):
        pass
