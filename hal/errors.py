"""What may go wrong at a door.

    HalError
    |-- SoundError
    |   |-- SoundMissing (also LookupError)   no sound device of the configured name
    |   `-- SoundLost (also OSError)          the device failed or vanished while open
    |-- SpeechError
    |   |-- SpeechMissing (also LookupError)  no speech engine, or no voice for the language
    |   `-- SpeechFailed (also OSError)       the engine failed, or took too long
    |-- LineError (also OSError)              a GPIO line cannot be requested, driven or read
    |-- SerialError (also OSError)            the serial line cannot be opened, written or read
    |-- ScreenError (also OSError)            the screen is missing, busy, has gone or changed its size
    |-- DatagramError (also OSError)          the UDP socket cannot be opened or used
    |-- BrokerError
    |   |-- BrokerUnreachable (also ConnectionError)  no TCP, TLS or MQTT connection
    |   |-- BrokerRefused                     CONNACK, SUBACK or PUBACK carried a refusal; has `.reason_code`
    |   `-- BrokerLost (also ConnectionError) the session ended under us
    |-- WebError
    |   |-- WebUnreachable (also ConnectionError)     name, TCP or TLS failed
    |   |-- WebTimeout (also TimeoutError)    the server went silent or drips too slowly
    |   `-- WebBroken (also ConnectionError)  the body ended early or the reply was malformed
    |-- WebcastError
    |   |-- WebcastUnreachable (also ConnectionError)  name, TCP or TLS failed, or the certificate is another
    |   |-- WebcastRefused                    the server answered with another status than 200; has `.status`
    |   |-- WebcastTimeout (also TimeoutError)  nothing was decoded for 3 s
    |   `-- WebcastBroken (also ConnectionError)  it ended, was cut, or is no sound
    |-- DiskError (also OSError)
    |   |-- DiskFull                          ENOSPC or EDQUOT
    |   `-- DiskMissing (also FileNotFoundError)      no such file
    |-- ControlError (also OSError)           the local socket cannot be made
    `-- DatabaseError                         SQLite refused; the transaction is rolled back

Each carries one full English sentence as its message. A leaf is also the built-in
exception that a stranger to this code would catch.
"""


class HalError(Exception):
    """Root of all errors raised by a door."""


class SoundError(HalError):
    """Root of the errors of the sound card and its input."""


class SoundMissing(SoundError, LookupError):
    """No device of the configured name exists, or it cannot be opened."""


class SoundLost(SoundError, OSError):
    """The device failed or vanished while a stream was open."""


class SpeechError(HalError):
    """Root of the speech engine's errors."""


class SpeechMissing(SpeechError, LookupError):
    """There is no speech engine here, or it has no voice for the language."""


class SpeechFailed(SpeechError, OSError):
    """The speech engine failed, or took too long."""


class LineError(HalError, OSError):
    """A GPIO line cannot be requested, driven or read."""


class SerialError(HalError, OSError):
    """The serial line cannot be opened, written or read."""


class ScreenError(HalError, OSError):
    """The screen is missing, busy, has gone or changed its size."""


class DatagramError(HalError, OSError):
    """The UDP socket cannot be opened or used."""


class BrokerError(HalError):
    """Root of the broker's errors."""


class BrokerUnreachable(BrokerError, ConnectionError):
    """No connection to the broker could be made."""


class BrokerRefused(BrokerError):
    """The broker answered with a refusal.

    Attributes:
        reason_code: the MQTT 5 reason code of CONNACK, SUBACK or PUBACK (>= 0x80).
    """

    def __init__(self, message: str, reason_code: int) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class BrokerLost(BrokerError, ConnectionError):
    """The session ended while it was in use."""


class WebError(HalError):
    """Root of the HTTP door's errors."""


class WebUnreachable(WebError, ConnectionError):
    """Name resolution, TCP or TLS failed."""


class WebTimeout(WebError, TimeoutError):
    """The server went silent, or sends more slowly than the floor allows."""


class WebBroken(WebError, ConnectionError):
    """The body ended early, or the reply was not HTTP."""


class WebcastError(HalError):
    """Root of the errors of streams that are fetched."""


class WebcastUnreachable(WebcastError, ConnectionError):
    """Name, TCP or TLS failed, or the server's certificate is not the one that is pinned."""


class WebcastRefused(WebcastError):
    """The server answered with a status that is no stream.

    Attributes:
        status: HTTP's: 404, 401, 503 ...
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class WebcastTimeout(WebcastError, TimeoutError):
    """Nothing was decoded for too long."""


class WebcastBroken(WebcastError, ConnectionError):
    """It ended, was cut, or is no sound."""


class DiskError(HalError, OSError):
    """The disk refused; the message names the path and the errno."""


class DiskFull(DiskError):
    """No space is left (ENOSPC, EDQUOT)."""


class DiskMissing(DiskError, FileNotFoundError):
    """There is no such file."""


class DatabaseError(HalError):
    """SQLite refused; the transaction was rolled back."""


class ControlError(HalError, OSError):
    """The local socket cannot be made, or not with the rights it must have."""
