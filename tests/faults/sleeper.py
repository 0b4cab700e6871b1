"""A process that `processes.start` starts and that does not end with its parent."""

import time

if __name__ == "__main__":
    time.sleep(60)
