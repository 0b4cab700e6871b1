"""A process that is killed where it renames a folder, for a script that a test runs."""

import os
import signal


def kill_at_rename(number: int) -> None:
    """From now on this process is killed before its rename of a folder that has this number."""
    replace, renamed = os.replace, []

    def killing(source, target):
        if os.path.isdir(source):
            renamed.append(target)
            if len(renamed) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = killing
