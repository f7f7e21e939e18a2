import errno, os, select, signal, socket, sys
mark, kind, to = sys.argv[1:4]
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
try:
    if kind == 'unix':
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(to)
    else:
        s = socket.create_connection((to, int(sys.argv[4])))
        s.settimeout(None)
except OSError as e:
    os.write(1, ('%s fail %d %s\n' % (mark, e.errno or 0, e.strerror or e)).encode())
    sys.exit(0)
os.write(1, (mark + ' ok\n').encode())
sock = s.fileno()
for fd in (0, 1, sock):
    os.set_blocking(fd, False)
up = down = b''
into = out = True
def again(e):
    return e.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
def read(fd):
    try:
        return os.read(fd, 65536)
    except OSError as e:
        return None if again(e) else b''
def write(fd, data):
    try:
        return data[os.write(fd, data):]
    except OSError as e:
        if again(e):
            return data
        sys.exit(0)
def end():
    try:
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
while out or down:
    r, w = [], []
    if into and len(up) < 65536: r.append(0)
    if out and len(down) < 65536: r.append(sock)
    if up: w.append(sock)
    if down: w.append(1)
    r, w, _ = select.select(r, w, [])
    if 0 in r:
        b = read(0)
        if b: up += b
        elif b == b'':
            into = False
            if not up: end()
    if sock in r:
        b = read(sock)
        if b: down += b
        elif b == b'': out = False
    if sock in w:
        up = write(sock, up)
        if not up and not into: end()
    if 1 in w: down = write(1, down)
