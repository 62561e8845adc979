"""The signals that ask a process to stop."""

import signal


def stop_signals() -> list[signal.Signals]:
    """SIGTERM, SIGINT and, unless `nohup` or the like had it ignored, that of a closed terminal."""
    signals = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals
