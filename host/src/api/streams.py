# wsgi.errors, sys.stdout and sys.stderr, on top of the native _Stream.
import io


class _TextStream(_Stream):
    __slots__ = ()
    encoding = 'utf-8'
    errors = 'replace'
    mode = 'w'
    newlines = None
    closed = False
    line_buffering = True

    @property
    def buffer(self):
        return _Buffer(self)

    def fileno(self):
        raise OSError('wsgi.errors log object has no file descriptor')

    def isatty(self):
        return False

    def readable(self):
        return False

    def seekable(self):
        return False

    def writable(self):
        return True

    def close(self):
        self.flush()

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def reconfigure(self, **settings):
        """A log is UTF-8 in lines, whatever an application asks of a text file."""


class _Buffer(io.RawIOBase):
    """What programs write bytes to, as sys.stdout.buffer."""

    def __init__(self, stream):
        self.raw = self
        self.name = stream.name
        self.mode = 'wb'
        self._stream = stream

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()

    def write(self, data):
        data = bytes(data)
        self._stream.write(data.decode('utf-8', 'replace'))
        return len(data)

    def flush(self):
        self._stream.flush()

    def close(self):
        pass


class _ErrorStream(_TextStream):
    __slots__ = ()
    name = '<wsgi.errors>'


class _StdoutStream(_TextStream):
    __slots__ = ()
    name = '<stdout>'


class _StderrStream(_TextStream):
    __slots__ = ()
    name = '<stderr>'


io.TextIOBase.register(_TextStream)
