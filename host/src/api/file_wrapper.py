class FileWrapper:
    """wsgi.file_wrapper of PEP 3333."""

    def __init__(self, filelike, blksize=8192):
        if blksize < 0:
            raise ValueError('blksize must not be negative')
        self._filelike = filelike
        self._blksize = blksize
        self._closed = False

    @property
    def filelike(self):
        if self._closed:
            raise ValueError('I/O operation on closed file')
        return self._filelike

    @property
    def blksize(self):
        return self._blksize

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self._blksize)
        if not isinstance(data, bytes):
            raise TypeError('file wrapper read() must return bytes')
        if not data:
            raise StopIteration
        return data

    def close(self):
        if not self._closed:
            self._closed = True
            try:
                self._filelike.close()
            except Exception:
                pass
