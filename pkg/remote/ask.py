import select, socket, sys
mark, to = sys.argv[1], sys.argv[2]
out = sys.stdout.buffer
def ask(line):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        s.connect(to)
        s.sendall(line.encode())
        while True:
            if sys.stdin in select.select([sys.stdin, s], [], [])[0]:
                sys.exit(0) # whoever asked is gone
            part = s.recv(65536)
            if not part:
                return 'ok'
            out.write(part)
    except OSError as e:
        return 'fail %d %s' % (e.errno or 0, e.strerror or e)
    finally:
        s.close()
while True:
    line = sys.stdin.readline()
    if not line:
        break
    out.write((mark + ' ' + ask(line) + '\n').encode())
    out.flush()
