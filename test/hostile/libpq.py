"""What libpq itself reads: conninfo strings, or passwords of a password file."""
import ctypes
import sys


class Option(ctypes.Structure):
    _fields_ = [(n, ctypes.c_char_p) for n in ("keyword", "envvar", "compiled", "val", "label", "dispchar")] + [("dispsize", ctypes.c_int)]


libpq = ctypes.CDLL("libpq.so.5")
libpq.PQconninfoParse.restype = ctypes.POINTER(Option)
libpq.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
libpq.PQconninfoFree.argtypes = [ctypes.POINTER(Option)]
libpq.PQconnectStart.restype = ctypes.c_void_p
libpq.PQconnectStart.argtypes = [ctypes.c_char_p]
libpq.PQpass.restype = ctypes.c_char_p
libpq.PQpass.argtypes = [ctypes.c_void_p]
libpq.PQfinish.argtypes = [ctypes.c_void_p]


def parse(text):
    """keyword, NUL, value, NUL for each that is given; then an empty keyword."""
    error = ctypes.c_char_p()
    options = libpq.PQconninfoParse(text, ctypes.byref(error))
    if not options:
        return b"error\0" + (error.value or b"").strip() + b"\0\0"
    out, i = b"", 0
    while options[i].keyword:
        if options[i].val is not None:
            out += options[i].keyword + b"\0" + options[i].val + b"\0"
        i += 1
    libpq.PQconninfoFree(options)
    return out + b"\0"


def password(text):
    conn = libpq.PQconnectStart(text)
    out = libpq.PQpass(conn) or b""
    libpq.PQfinish(conn)
    return out + b"\0"


read = {"parse": parse, "password": password}[sys.argv[1]]
for line in sys.stdin.buffer.read().split(b"\0")[:-1]:
    sys.stdout.buffer.write(read(line))
